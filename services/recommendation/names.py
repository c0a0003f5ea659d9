"""What categories are called in an answer: the product taxonomy's names, in the caller's language."""

from services.recommendation.fields import Enriched
from shared.product_taxonomy import product_taxonomy


def name_categories(record: Enriched, language: str) -> Enriched:
    """Gives each category of the record its name in one of LANGUAGES, as far as its id is known; returns the record."""
    for category in (record.category, *(photo.category for photo in record.photos)):
        if category.taxonomy_id and (known := product_taxonomy().get(category.taxonomy_id)):
            category.display_name = known.name(language)
    return record
