"""The index's fake, exact and in memory: also the measure of the approximate one."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.recommendation.fields import Vector
from services.recommendation.index import Placement, WrongDimension, fitting
from services.recommendation.rank import Filter, highest, index_text, lowest
from shared.product_taxonomy import spelled_id


class ExactVectorIndex:
    """Compares with every vector."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, tuple[Vector, Mapping[str, object]]]] = {}
        self._current: str | None = None

    async def place(self, placements: Sequence[Placement]) -> None:
        for space in sorted({space for p in placements for space in p.vectors}):
            self._spaces.setdefault(space, {})
            self._current = self._current or space
        for placement in placements:
            for space, elements in self._spaces.items():
                vector = fitting(placement, space, {space: await self.dimension(space)})
                if vector is None:
                    elements.pop(placement.listing_id, None)
                else:
                    elements[placement.listing_id] = (vector, placement.attributes)

    async def search(
        self, space: str, query: Vector, count: int, wanted: Filter, *, exhaustive: bool = False
    ) -> list[str]:
        elements = self._spaces.get(space, {})
        if elements and query.size != await self.dimension(space):
            raise WrongDimension(f"{query.size} numbers, in space {space} of {await self.dimension(space)}")
        near = [(-float(query @ v), name) for name, (v, about) in elements.items() if _admits(about, wanted)]
        return [name for _, name in sorted(near)[:count]]

    async def current_space(self) -> str | None:
        return self._current

    async def spaces(self) -> list[str]:
        return sorted(self._spaces)

    async def size(self, space: str) -> int:
        return len(self._spaces.get(space, {}))

    async def dimension(self, space: str) -> int | None:
        return next((int(vector.size) for vector, _ in self._spaces.get(space, {}).values()), None)


def _admits(about: Mapping[str, Any], wanted: Filter) -> bool:
    """What rank.expression says, over the same attributes."""
    price = wanted.price
    return (
        (not wanted.category_path or index_text("/", wanted.category_path) in about["category"])
        and (not wanted.taxonomy_id or spelled_id(wanted.taxonomy_id) in about["taxonomy"])
        and all(index_text("=", (a.name, a.value)) in about["attribute"] for a in wanted.attributes)
        and (not wanted.HasField("price") or about["currency"] == index_text("", [price.currency_code]))
        and (not price.HasField("minimum") or about["price"] >= float(lowest(price.minimum)))
        and (not price.HasField("maximum") or about["price"] <= float(highest(price.maximum)))
        and (not wanted.seller_ids or about["seller"] in [index_text("", [s]) for s in wanted.seller_ids])
        and about["seller"] not in [index_text("", [s]) for s in wanted.excluded_seller_ids]
    )
