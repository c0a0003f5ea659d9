"""What a seller's claims mean, in whichever language, as categories of the product taxonomy; and how far from a photo.

Read through the taxonomy's own names in its 13 languages. What those lack, and how languages build names, is in the
tables beside. The first claim takes seconds (names are sorted into an index), each after it less than a millisecond.
"""

from shared.claims.kinship import contradiction, distance
from shared.claims.meaning import Meaning, category_meaning, claims_meaning, title_meaning

__all__ = ["Meaning", "category_meaning", "claims_meaning", "contradiction", "distance", "title_meaning"]
