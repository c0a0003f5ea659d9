"""Who calls. Until tokens say it, a caller is known by its address, and may speak for every seller."""

import ipaddress
from dataclasses import dataclass
from typing import Literal

from starlette.requests import HTTPConnection

from services.gateway.problems import Problem

Scope = Literal["upload", "review"]

UNKNOWN = "unknown"
# One customer of a network provider has at least so much of IPv6, and may call from each of its addresses.
_PREFIX = 64
_LOCAL: frozenset[Scope] = frozenset({"upload", "review"})
_REMOTE: frozenset[Scope] = frozenset({"upload"})


@dataclass(frozen=True, slots=True)
class Caller:
    """`subject` is what quotas are counted by; `sellers` those it may upload for, None: all."""

    subject: str
    sellers: frozenset[str] | None
    scopes: frozenset[Scope]

    def needs(self, scope: Scope) -> None:
        """Raises Problem where the caller may not do this."""
        if scope not in self.scopes:
            raise Problem(
                "not-allowed",
                f"This needs the scope {scope}, which callers from {self.subject} don't have.",
                "Call from the machine that the gateway runs on, or leave it to somebody who may.",
            )

    def speaks_for(self, seller_id: str) -> None:
        """Raises Problem where the caller may not do anything in this seller's name."""
        if self.sellers is not None and seller_id not in self.sellers:
            raise Problem(
                "not-allowed",
                f"The caller {self.subject} may not act for the seller {seller_id}.",
                "Send the seller_id that you are known by.",
                {"part": "listing", "field": "seller_id"},
            )


_PASSED_ON = {"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"}


def caller_of(connection: HTTPConnection) -> Caller:
    """By the address of the peer: behind a proxy nobody can be told apart.

    Reviewing is for the gateway's own machine, where whoever calls could read the store as well; not for what a proxy
    there passes on, which says so in a header.
    """
    host = connection.client.host if connection.client else ""
    address = _address(host)
    local = address is not None and address.is_loopback and not _PASSED_ON & set(connection.headers.keys())
    return Caller(subject_of(host), None, _LOCAL if local else _REMOTE)


def subject_of(host: str) -> str:
    """What callers from an address are counted by; one name for all that come from none."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), _PREFIX), strict=False))
    return str(address or UNKNOWN)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    # A socket that listens on both kinds says so of IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
