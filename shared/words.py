"""The plain words for what protos/ enumerates, in every JSON and on every screen."""

from typing import Protocol

from google.protobuf.descriptor import EnumDescriptor


class Enumeration(Protocol):
    """An enum of vitrine.*."""

    @property
    def DESCRIPTOR(self) -> EnumDescriptor: ...  # noqa: N802


def word(kind: Enumeration, value: int) -> str:
    """FACET_CATEGORY is called category; "" where nothing was said, or what this version doesn't know."""
    known = kind.DESCRIPTOR.values_by_number.get(value)
    return "" if known is None or not value else str(known.name).partition("_")[2].lower()
