"""Money as decimals, and back."""

from decimal import Decimal

from vitrine.events.v1 import listing_pb2

_NANOS = 9  # digits of listing_pb2.Money.nanos


def money(amount: Decimal, currency_code: str) -> listing_pb2.Money:
    """Not negative, with at most nine decimals."""
    units = int(amount)
    return listing_pb2.Money(currency_code=currency_code, units=units, nanos=int((amount - units).scaleb(_NANOS)))


def amount_of(money: listing_pb2.Money) -> Decimal:
    """Exact."""
    return money.units + Decimal(money.nanos).scaleb(-_NANOS)


def spelled(amount: Decimal) -> str:
    """As a price is written: whole, or with two decimals at least: "19", "19.90", "0.125"."""
    units, _, decimals = f"{amount:f}".partition(".")
    decimals = decimals.rstrip("0")
    return f"{units}.{decimals:0<2}" if decimals else units
