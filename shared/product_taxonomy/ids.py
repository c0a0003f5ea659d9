"""Ids of categories, which spell their paths: what follows from them alone."""

import re

_SPELLED = re.compile(r"(?:gid://shopify/TaxonomyCategory/)?([a-z]{2}(?:-[0-9]+)*)", re.IGNORECASE | re.ASCII)


def spelled_id(text: str) -> str | None:
    """The id that the whole text spells, bare or as a gid://, in any case; it needn't exist."""
    spelled = _SPELLED.fullmatch(text.strip())
    return spelled[1].lower() if spelled else None


def is_at_or_below(category_id: str, ancestor: str) -> bool:
    """Whether it is the ancestor itself or one of those below; "" is above all. By the ids alone."""
    return not ancestor or category_id == ancestor or category_id.startswith(f"{ancestor}-")


def ids_down_to(category_id: str) -> list[str]:
    """aa, aa-1, aa-1-13 for aa-1-13; none for ""."""
    parts = category_id.split("-") if category_id else []
    return ["-".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
