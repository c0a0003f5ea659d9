"""How products of a category look, by its id in the product taxonomy (shared/product_taxonomy/)."""

from shared.vision.regions import Region

ABOVE_THE_WAIST = (
    "aa-1-13",  # tops
    "aa-1-10",  # outerwear, but for what is named below
    "aa-1-1-2", "aa-1-1-6", "aa-1-1-7", "aa-1-1-8",  # for sports: tops, bras, sweatshirts, jackets
    "aa-1-2-4", "aa-1-2-9",  # babies' outerwear and tops
    "aa-1-3-3", "aa-1-5-3", "aa-1-6-3", "aa-1-6-4", "aa-1-6-12", "aa-1-8-2",  # undershirts, bras, camisoles
    "aa-1-7-1", "aa-1-7-8",  # for mothers: nursing bras, tops
    "aa-1-20-12", "aa-1-20-23", "aa-1-20-24",  # rash guards, surf tops, swimwear tops
)  # fmt: skip
BELOW_THE_WAIST = (
    "aa-1-12", "aa-1-14", "aa-1-15", "aa-1-16",  # pants, shorts, skirts, skorts
    "aa-1-10-1", "aa-1-10-3",  # chaps, rain pants
    "aa-1-1-1", "aa-1-1-4",  # for sports: pants, boxing shorts
    "aa-1-2-1", "aa-1-2-2",  # babies' bottoms and diaper covers
    "aa-1-3-1", "aa-1-3-2", "aa-1-5-1", "aa-1-5-2", "aa-1-6-9", "aa-1-6-11", "aa-1-8-1", "aa-1-8-3",  # underwear
    "aa-1-7-4", "aa-1-7-5",  # for mothers: pants, skirts
    "aa-1-17-1",  # long johns
    "aa-1-20-2", "aa-1-20-3", "aa-1-20-4",  # boardshorts, swim boxers, swim briefs
)  # fmt: skip
BOTH = ("aa-1-10-4", "aa-1-10-5", "aa-1-10-7")  # suits for rain, snow and motorcycles
NAMED = (*ABOVE_THE_WAIST, *BELOW_THE_WAIST, *BOTH)


# Jewellery and watches, brass and other instruments, locks, plumbing, tools, what kitchens hold, lamps. Nothing else is
# judged by its shine: lemons have it, too.
OFTEN_OF_METAL = ("aa-6", "ae-2-8", "ha-9", "ha-10", "ha-15", "hg-11", "hg-13")


def region_of(taxonomy_id: str) -> Region:
    """Where a photo of a category shows what it is about; "" is the id of what is unknown."""
    nearest = max((one for one in NAMED if _is_below(taxonomy_id, one)), key=len, default="")
    return "upper" if nearest in ABOVE_THE_WAIST else "lower" if nearest in BELOW_THE_WAIST else "product"


def may_be_of_metal(taxonomy_id: str) -> bool:
    """Whether what shines is metal."""
    return any(_is_below(taxonomy_id, one) for one in OFTEN_OF_METAL)


def _is_below(taxonomy_id: str, ancestor: str) -> bool:
    """Or the same."""
    return f"{taxonomy_id}-".startswith(f"{ancestor}-")
