"""Who calls, as long as only addresses tell."""

import pytest
from starlette.requests import HTTPConnection

from services.gateway.callers import Caller, caller_of, subject_of
from services.gateway.problems import Problem


def calling_from(host: str | None, *headers: tuple[bytes, bytes]) -> Caller:
    client = None if host is None else (host, 4711)
    return caller_of(HTTPConnection({"type": "http", "headers": list(headers), "client": client}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"])
def test_whoever_is_on_the_same_machine_may_review(host: str) -> None:
    calling_from(host).needs("review")
    calling_from(host).needs("upload")


@pytest.mark.parametrize("name", [b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"])
def test_what_a_proxy_on_the_same_machine_passes_on_may_not_review(name: bytes) -> None:
    with pytest.raises(Problem, match="not-allowed"):
        calling_from("127.0.0.1", (name, b"10.0.0.7")).needs("review")


ELSEWHERE = ["10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7", "fe80::1%eth0", "not an address", "", None]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_others_may_upload_and_not_review(host: str | None) -> None:
    caller = calling_from(host)
    caller.needs("upload")
    with pytest.raises(Problem, match="not-allowed: This needs the scope review") as caught:
        caller.needs("review")
    assert caught.value.type.status == 403


@pytest.mark.parametrize(
    ("host", "subject"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_quotas_are_counted_by_address_and_of_ipv6_by_network(host: str, subject: str) -> None:
    assert subject_of(host) == subject
    assert calling_from(host).subject == subject


def test_until_tokens_come_everybody_speaks_for_every_seller() -> None:
    calling_from("10.0.0.7").speaks_for("seller-42")


def test_who_is_known_speaks_for_its_own_sellers_only() -> None:
    caller = Caller("token 7", frozenset({"seller-42"}), frozenset({"upload"}))
    caller.speaks_for("seller-42")
    with pytest.raises(Problem, match="may not act for the seller seller-43"):
        caller.speaks_for("seller-43")
