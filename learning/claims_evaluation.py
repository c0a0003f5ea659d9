"""How well claims are understood, and whom they have accused.

Claims are names of categories with what sellers do to them, and what people wrote. What is counted is what is
understood of them, by language; how many honest ones would be held against their sellers by a photo that shows what
they say; and how many false ones.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import islice
from pathlib import Path
from random import Random

from vitrine.events.v1 import listing_pb2

from shared.claims import Meaning, claims_meaning, contradiction, distance
from shared.product_taxonomy import LANGUAGES, ProductCategory, ProductTaxonomy, product_taxonomy
from shared.vision.pack import Pack

_PHRASES = Path(__file__).with_name("seller_phrases.toml")
_WRITTEN = Path(__file__).with_name("honest_claims.toml")
_BRANDS = ("Zyntrix", "Nordlund", "Mango", "Puma", "Samsung", "Arla")  # made up, and such as are words or known makers'

# Understood as what was meant, or as something above, below or near it, in the same vertical, in another, not at all.
EXACT, KIN, NEIGHBOUR, VERTICAL, WRONG, UNKNOWN = OUTCOMES = (
    "exact",
    "above or below",
    "neighbour",
    "same vertical",
    "wrong",
    "not understood",
)
ALL = "all"
SEEN_SURELY = 0.95  # the probability that a photo's category is taken to have
REVIEWED = 0.5  # strength of a contradiction
MOST_UNKNOWN = 0.7  # probability that something else is meant, of what counts as understood
# An -s that makes a plural and nothing else.
_PLURALS = {
    "en": re.compile(r"(?<=\w{3})(?<![aeis])s\b"),
    "fr": re.compile(r"(?<=\w{2}[eo])s\b"),
    "es": re.compile(r"(?<=\w{2}[ao])s\b"),
    "pt-BR": re.compile(r"(?<=\w{2}[ao])s\b"),
}

EACH_VERTICAL = 26  # categories sampled to choose far ones from: one of each vertical for each
MOST_OF_A_WORD = 60  # categories whose names end with it; "accessories" and "products" are more
NOTHING_TO_SEE = {"na", "gc", "se", "pa", "so"}  # verticals of no thing: gift cards, services, software …


@dataclass(frozen=True, slots=True)
class Claim:
    """What a seller writes of a category, where, and in what way it differs from the name."""

    category: str  # id
    language: str
    way: str
    field: str
    title: str = ""

    @property
    def meaning(self) -> Meaning:
        return claims_meaning(listing_pb2.Claims(category=self.field, title=self.title))


@dataclass(frozen=True, slots=True)
class Pair:
    """A claim, and the id of what its photo shows."""

    claim: Claim
    seen: str


def is_accused(meaning: Meaning, seen: str, probability: float = SEEN_SURELY) -> bool:
    """Whether a photo of this would have the listing reviewed."""
    return probability * contradiction(meaning, seen) >= REVIEWED


def outcome(claim: Claim) -> str:
    """How the claim is understood; a category that goes by the same name is as right."""
    meaning, taxonomy = claim.meaning, product_taxonomy()
    understood = meaning.likeliest
    if understood is None or meaning.unknown > MOST_UNKNOWN:
        return UNKNOWN
    meant = claim.category
    if understood == meant or taxonomy[understood].name(claim.language) == taxonomy[meant].name(claim.language):
        return EXACT
    if taxonomy.is_at_or_below(understood, meant) or taxonomy.is_at_or_below(meant, understood):
        return KIN
    if distance(understood, meant) == 0:
        return NEIGHBOUR
    return VERTICAL if understood.split("-")[0] == meant.split("-")[0] else WRONG


def drawn_claims(each: int, seed: int = 0) -> Iterator[Claim]:
    """So many categories in every language, of all verticals, each written in every way."""
    for language in LANGUAGES:
        for category in _sample(product_taxonomy(), each, Random(f"{seed} {language}")):
            yield from claims_of(category, language, Random(f"{seed} {language} {category.id}"))


def claims_of(category: ProductCategory, language: str, random: Random) -> Iterator[Claim]:
    """Its name as sellers write it."""
    name = category.name(language)
    above = [one.name(language) for one in product_taxonomy().path(category.id)[:-1]]
    phrases = _phrases()[language]
    brand = random.choice(_BRANDS)
    title = random.choice(phrases["title"]).format(name=name, brand=brand)
    written = {
        "as named": name,
        "upper case": name.upper(),
        "without accents": _without_accents(name),
        "for whom": random.choice(phrases["audience"]).format(name=name),
        "brand before": f"{brand} {name}",
        "size behind": f"{name} {random.choice(('42', 'XL', '256 GB', '500 ml', '30x40 cm'))}",
        "shouted": f"NEW!! {name} ⭐⭐⭐",
        "escaped": escape(escape(name)),
        "hyphens": name.replace(" ", "-"),
        "path": random.choice((" > ", "/", " | ", " » ", ": ", " - ")).join([*above, name]),
        "path turned": " > ".join([name, *reversed(above)]),
        "gid": f"gid://shopify/TaxonomyCategory/{category.id}",
    }
    if language in _PLURALS:
        written["singular"] = _PLURALS[language].sub("", name)
    for way, field in written.items():
        yield Claim(category.id, language, way, field)
    yield Claim(category.id, language, "title alone", "", title)
    if above:
        yield Claim(category.id, language, "title and above", above[-1], title)


def honest_pairs(seen: Sequence[str], each: int, seed: int = 0) -> Iterator[Pair]:
    """What is seen, as honest sellers claim it: its own names and those above, beside and below it, in every way."""
    taxonomy = product_taxonomy()
    for category_id in seen:
        related = {
            "its own": [taxonomy[category_id]],
            "above": list(taxonomy.path(category_id)[:-1]),
            "beside": _beside(category_id),
            "below": list(taxonomy.children(category_id)),
            "of the same word": _of_the_same_word(category_id),
        }
        for relation, categories in related.items():
            for language in LANGUAGES:
                random = Random(f"{seed} {category_id} {relation} {language}")
                for one in random.sample(categories, min(each, len(categories))):
                    for claim in claims_of(one, language, random):
                        yield Pair(Claim(one.id, language, relation, claim.field, claim.title), category_id)


def written_pairs(seen: Iterable[str]) -> Iterator[Pair]:
    """What people wrote of what is seen, as a category, and as a title beside none."""
    table = tomllib.loads(_WRITTEN.read_text("utf-8"))
    for category_id in sorted(table.keys() & set(seen)):
        for language, phrases in table[category_id].items():
            for phrase in phrases:
                yield Pair(Claim(category_id, language, "written", phrase), category_id)
                yield Pair(Claim(category_id, language, "written as a title", "", phrase), category_id)


def false_pairs(seen: Sequence[str], each: int, seed: int = 0) -> Iterator[Pair]:
    """What is seen, claimed to be something of another vertical that goes by no common word."""
    taxonomy = product_taxonomy()
    for category_id in seen:
        for language in LANGUAGES:
            random = Random(f"{seed} false {category_id} {language}")
            others = _sample(taxonomy, EACH_VERTICAL * each, random)
            random.shuffle(others)
            far = (one for one in others if distance(one.id, category_id) == 1 and one.id[:2] not in NOTHING_TO_SEE)
            for one in islice(far, each):
                for claim in claims_of(one, language, random):
                    yield Pair(claim, category_id)


def accused(pairs: Iterable[Pair]) -> list[tuple[Pair, bool]]:
    """Each with whether it is."""
    return [(pair, is_accused(pair.claim.meaning, pair.seen)) for pair in pairs]


def accused_by(judged: Iterable[tuple[Pair, bool]], row: Callable[[Pair], str]) -> Mapping[str, float]:
    """The share that is accused, by row; of all of them last."""
    marked = [(name, str(is_so)) for pair, is_so in judged for name in (row(pair), ALL)]
    found = {name: of[str(True)] for name, of in shares(marked, [str(True)]).items()}
    return {name: found[name] for name in sorted(found, key=lambda one: one == ALL)}


def seen_ids(pack: Pack) -> Sequence[str]:
    """The ids that a pack's answers can carry."""
    return sorted({pack.taxonomy_id(node) for node in pack.taxonomy.nodes} - {""})


def shares(of: Iterable[tuple[str, str]], columns: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """By the first of each pair, how often the second is each of the columns."""
    counted: dict[str, Counter[str]] = {}
    for row, column in of:
        counted.setdefault(row, Counter())[column] += 1
    return {
        row: {column: counts[column] / counts.total() for column in columns if counts.total()}
        for row, counts in counted.items()
    }


def _sample(taxonomy: ProductTaxonomy, count: int, random: Random) -> list[ProductCategory]:
    """As many of each vertical, where it has them, so that fittings and instruments aren't most of it."""
    verticals: dict[str, list[ProductCategory]] = {}
    for category in taxonomy:
        verticals.setdefault(category.id.split("-")[0], []).append(category)
    for some in verticals.values():
        random.shuffle(some)
    rounds = [some[turn] for turn in range(count) for some in verticals.values() if turn < len(some)]
    return rounds[:count]


def _beside(category_id: str) -> list[ProductCategory]:
    parent = product_taxonomy().parent(category_id)
    if parent is None or not product_taxonomy().parent(parent.id):
        return []
    return [one for one in product_taxonomy().children(parent.id) if one.id != category_id]


def _of_the_same_word(category_id: str) -> list[ProductCategory]:
    """Categories anywhere whose English name ends with the same word: costume shoes. None if anything is called so."""
    last = product_taxonomy()[category_id].name().split()[-1]
    named = [one for one in product_taxonomy() if one.name().split()[-1] == last and one.id != category_id]
    return named if len(named) <= MOST_OF_A_WORD else []


def _without_accents(name: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", name) if not "\u0300" <= char <= "\u036f")


@cache
def _phrases() -> Mapping[str, Mapping[str, Sequence[str]]]:
    return tomllib.loads(_PHRASES.read_text("utf-8"))
