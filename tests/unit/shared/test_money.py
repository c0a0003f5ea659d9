"""An amount is the same as a decimal, on the wire and spelled out; enums have their words."""

from decimal import Decimal

import pytest
from vitrine.events.v1 import enriched_pb2, image_pb2

from shared.money import amount_of, money, spelled
from shared.words import word


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("0", "0"),
        ("19.99", "19.99"),
        ("19.9", "19.90"),
        ("19.00", "19"),
        ("0.125", "0.125"),
        ("1000", "1000"),
        ("0.000000001", "0.000000001"),
        ("999999999999.999999999", "999999999999.999999999"),
    ],
)
def test_an_amount_survives_the_wire_and_is_spelled_like_a_price(written: str, shown: str) -> None:
    sent = money(Decimal(written), "EUR")
    assert sent.currency_code == "EUR"
    assert amount_of(sent) == Decimal(written)
    assert spelled(amount_of(sent)) == shown


def test_what_protos_enumerate_has_a_word() -> None:
    assert word(image_pb2.Attribute.Source, image_pb2.Attribute.SOURCE_READ) == "read"
    assert word(image_pb2.Fraud.Decision, image_pb2.Fraud.DECISION_BLOCK) == "block"
    assert word(enriched_pb2.Facet, enriched_pb2.FACET_CATEGORY) == "category"
    assert word(image_pb2.Attribute.Source, 0) == ""
    assert word(image_pb2.Attribute.Source, 99) == ""
