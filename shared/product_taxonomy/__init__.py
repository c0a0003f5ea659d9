"""Shopify's Standard Product Taxonomy: what a product is, by an id that marketplaces share, named in 13 languages.

An id spells its path: the parent of aa-1-13-8 is aa-1-13; the top ones (aa, el, hg, …) are called verticals. The data
is release 2024-07 (LICENSES.md); its file has a row for each category, parents first: the id and a name per language.
"""

from shared.product_taxonomy.ids import ids_down_to, is_at_or_below, spelled_id
from shared.product_taxonomy.languages import LANGUAGES, language_of
from shared.product_taxonomy.taxonomy import ProductCategory, ProductTaxonomy, product_taxonomy

__all__ = [
    "LANGUAGES",
    "ProductCategory",
    "ProductTaxonomy",
    "ids_down_to",
    "is_at_or_below",
    "language_of",
    "product_taxonomy",
    "spelled_id",
]
