"""From printed lines to attributes: brand, size, volume, weight, memory.

Units are normalised: volumes to ml below a litre and to l from there, weights to g and kg, memory to GB and TB. So
"33 cl" is ("330", "ml"), "1,5 L" is ("1.5", "l") and "1024 GB" is ("1", "TB"). "6 x 330 ml" is what one piece holds.
"""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

from services.attributes.text import Line
from shared.errors import Unusable
from shared.vision.pack import CategorySpec, Meaning, PackUnusable

BRANDS = Path(__file__).parents[2] / "shared/brands.toml"
UNITS = Path(__file__).with_name("units.toml")


@dataclass(frozen=True, slots=True)
class ReadAttribute:
    """One attribute that a label states. `confidence`: that it is read right and means this."""

    name: str
    value: str
    unit: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Row:
    """What stands side by side at one height: "500" and "ml" may have been found as two lines."""

    text: str
    confidence: float
    height: float  # of its letters, as a fraction of the photo's


def attributes_in(lines: Sequence[Line], meaning: Meaning) -> list[ReadAttribute]:
    """At most one of each name that a product of this meaning can have at all."""
    if not lines:
        return []
    rows = rows_of(lines)
    finders: dict[str, Callable[[], ReadAttribute | None]] = {
        "brand": lambda: brand_in(lines, meaning.brands, meaning.largest_print_is_brand),
        "size": lambda: size_in(rows) if meaning.bare_sizes else stated_size_in(rows),
        "volume": lambda: volume_in(rows),
        "weight": lambda: weight_in(rows),
        "memory": lambda: memory_in(rows),
    }
    found = (finders[name]() for name in meaning.attributes if name in finders)
    return [attribute for attribute in found if attribute is not None]


def require_known_brands(pack_name: str, categories: Iterable[CategorySpec]) -> None:
    """Raises PackUnusable for lists that brands.toml hasn't: those brands would be lost without a word."""
    known = _lexicon().brands
    for spec in categories:
        if unknown := [name for name in spec.brands or () if name not in known]:
            raise PackUnusable(
                f"pack {pack_name}: categories: {'/'.join(spec.path) or 'all'}: unknown lists of brands "
                f"{', '.join(unknown)}; {BRANDS.name} has {', '.join(known)}"
            )


def rows_of(lines: Sequence[Line], widest_gap: float = 1.5) -> list[Row]:
    """Lines that follow each other at one height, joined from left to right; from top to bottom.

    A gap may be so many times as wide as the letters are high.
    """
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.left, line.top)):
        for row in rows:
            if _continues(row[-1], line, widest_gap):
                row.append(line)
                break
        else:
            rows.append([line])
    rows.sort(key=lambda row: (row[0].top, row[0].left))
    return [
        Row(
            unicodedata.normalize("NFKC", " ".join(line.text for line in row)),
            min(line.confidence for line in row),
            max(line.height for line in row),
        )
        for row in rows
    ]


def _continues(one: Line, other: Line, widest_gap: float) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    gap = other.left - one.right
    highest = max(one.height, other.height)
    return overlap > 0.5 * min(one.height, other.height) and -0.5 * one.height < gap < widest_gap * highest


# --- quantities -------------------------------------------------------------------------------------------------------
NUMBER = r"(?<![\d.,%/])(\d{1,4}(?:[.,]\d{1,3})?)"
# The sign for a checked quantity, ℮, is often read as an e that sticks to the unit.
UNIT_ENDS = r"[e℮]?(?![^\W\d_])"
# "per 100 ml" and its like speak of nutrition, not of content.
PER = re.compile(r"(?:\b(?:per|pro|par|por|je|pr|på)\b|/|每)\s*(?:100|1)\s*(?:ml|g|dl|l|克|毫升)")
LEAST_VOLUME, MOST_VOLUME = Decimal(5), Decimal(20_000)  # ml
LEAST_WEIGHT, MOST_WEIGHT = Decimal(5), Decimal(25_000)  # g


@dataclass(frozen=True, slots=True)
class _Stated:
    """A quantity in its smallest unit, and the row that states it."""

    amount: Decimal
    row: Row


def volume_in(rows: Sequence[Row]) -> ReadAttribute | None:
    """The content of a bottle or carton."""
    stated = _quantities(rows, _units()["volume"], LEAST_VOLUME, MOST_VOLUME)
    return _largest_print("volume", stated, ("ml", "l"))


def weight_in(rows: Sequence[Row]) -> ReadAttribute | None:
    """The content of a package."""
    stated = _quantities(rows, _units()["weight"], LEAST_WEIGHT, MOST_WEIGHT)
    return _largest_print("weight", stated, ("g", "kg"))


@cache
def _units() -> Mapping[str, Mapping[str, Decimal]]:
    """How many of the smallest unit each spelling stands for, by quantity."""
    return units_in(UNITS.read_text("utf-8"))


def units_in(text: str) -> Mapping[str, Mapping[str, Decimal]]:
    """Raises Unusable for what is no table of units."""
    units: dict[str, dict[str, Decimal]] = {}
    try:
        for quantity, sizes in tomllib.loads(text).items():
            spelled = [(word, Decimal(size)) for size, words in sizes.items() for word in words]
            if strings := [size for size, words in sizes.items() if not isinstance(words, list)]:
                raise ValueError(f"[{quantity}] has no list of spellings for {', '.join(strings)}")
            units[quantity] = dict(spelled)
            if len(units[quantity]) < len(spelled):
                raise ValueError(f"[{quantity}] has a spelling twice")
            if wrong := [word for word, size in spelled if word != word.casefold() or not word or size <= 0]:
                raise ValueError(f"[{quantity}] spells units in lower case, of sizes above 0: {', '.join(wrong)}")
        if missing := {"volume", "weight"} - units.keys():
            raise ValueError(f"[{'], ['.join(sorted(missing))}] is missing")
    except (ValueError, ArithmeticError, AttributeError, TypeError) as why:
        raise Unusable(f"{UNITS.name}: {why}") from why
    return units


def _quantities(rows: Sequence[Row], units: Mapping[str, Decimal], least: Decimal, most: Decimal) -> list[_Stated]:
    pattern = re.compile(NUMBER + r"\s*(" + "|".join(map(re.escape, units)) + ")" + UNIT_ENDS)
    found = []
    for row in rows:
        text = _digits_mended(PER.sub(" ", row.text.casefold()))
        for number, unit in pattern.findall(text):
            amount = _decimal(number, thousands=units[unit] == 1) * units[unit]
            if least <= amount <= most:
                found.append(_Stated(amount, row))
    return found


def _decimal(number: str, thousands: bool) -> Decimal:
    """Comma and point are both decimal signs, unless three digits follow and the unit is small: 1.000 g."""
    whole, sign, rest = number.replace(",", ".").partition(".")
    if sign and thousands and len(rest) == 3 and whole != "0":
        return Decimal(whole + rest)
    return Decimal(f"{whole}.{rest or 0}")


def _digits_mended(text: str) -> str:
    """An O beside a digit is a zero, an l or I before a digit or a decimal sign a one: "5OO ml", "l,5 l", "I.5 L"."""
    text = re.sub(r"(?<=\d)o(?=[\do\s]|[mcdg])", "0", text)
    text = re.sub(r"(?<=\d)o(?=[\do\s]|[mcdg])", "0", text)
    return re.sub(r"(?<![^\W_])[li|](?=[.,]\d)", "1", text)


def _largest_print(name: str, stated: Sequence[_Stated], units: tuple[str, str]) -> ReadAttribute | None:
    """What is printed largest; the less certain, the larger the others are printed."""
    if not stated:
        return None
    best = max(stated, key=lambda one: (one.row.height * one.row.confidence, one.amount))
    rival = max((one.row.height for one in stated if one.amount != best.amount), default=0.0)
    certainty = 0.95 - 0.4 * min(1.0, rival / best.row.height)
    value, unit = _in_units(best.amount, units)
    return ReadAttribute(name, value, unit, best.row.confidence * certainty)


def _in_units(amount: Decimal, units: tuple[str, str], step: int = 1000) -> tuple[str, str]:
    small, large = units
    return (_plain(amount / step), large) if amount >= step else (_plain(amount), small)


def _plain(number: Decimal) -> str:
    """Without an exponent and without trailing zeros: "1.5", "500"."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- memory -----------------------------------------------------------------------------------------------------------
GIGABYTES = re.compile(r"(?<![\d.,])(\d{1,4})\s*(gb|g8|go|гб|tb|t8|to|тб)(?![^\W\d_])")
PAIR = re.compile(r"(?<![\d.,])(\d{1,2})\s*(?:gb|g8|go)?\s*[+/|]\s*(\d{2,4})\s*(?:gb|g8|go)(?![^\W\d_])")
TERABYTE_UNITS = frozenset({"tb", "t8", "to", "тб"})
RAM_SIZES = frozenset({1, 2, 3, 4, 6, 8, 12, 16, 18, 24})  # GB
STORAGE_SIZES = frozenset({8, 16, 32, 64, 128, 256, 512, 1024, 2048})  # GB
CARD = re.compile(r"micro\s*sd|\bsd\b|\bup to\b|\bbis zu\b|\bjusqu|\bhasta\b|扩展")  # what may be put in, not what is


def memory_in(rows: Sequence[Row]) -> ReadAttribute | None:
    """A phone's storage, not its RAM."""
    attribute = _largest_print("memory", _storage(rows), ("GB", "TB"))
    if attribute is None:
        return None
    amount = Decimal(attribute.value) * (1000 if attribute.unit == "TB" else 1)
    value, unit = _in_units(amount, ("GB", "TB"), step=1024)
    return ReadAttribute("memory", value, unit, attribute.confidence)


def _storage(rows: Sequence[Row]) -> list[_Stated]:
    """Told from RAM by that word or a pair like 8/256 GB, else by size: no phone stores 4 GB."""
    storage: list[_Stated] = []
    for row in rows:
        text = _digits_mended(row.text.casefold())
        if CARD.search(text):
            continue
        for small, large in PAIR.findall(text):
            if int(small) in RAM_SIZES and int(large) in STORAGE_SIZES:
                storage.append(_Stated(Decimal(large), row))
        for found in GIGABYTES.finditer(PAIR.sub(" ", text)):
            amount = int(found[1]) * (1024 if found[2] in TERABYTE_UNITS else 1)
            is_ram = amount in RAM_SIZES and _called_ram(text, found)
            if amount in STORAGE_SIZES and amount >= 16 and not is_ram:
                storage.append(_Stated(Decimal(amount), row))
    return storage


def _called_ram(text: str, found: re.Match[str]) -> bool:
    """RAM, directly before or after: "8 GB RAM", "RAM: 8 GB". In "8 GB RAM 128 GB" the word belongs to the first."""
    after = re.match(r"\s*(?:lpddr\w*\s*)?(?:ram|运行内存)", text[found.end() :])
    before = re.search(r"(?<!gb )(?<!gb)(?:\bram|运行内存)\s*[:：]?\s*$", text[: found.start()])
    return bool(after or before)


# --- size -------------------------------------------------------------------------------------------------------------
LETTER_SIZE = r"(?:[2-6]?xl|x{2,4}l|x{1,3}s|xs|s|m|l)"
SAID_SIZE = r"(?:size|sz|grösse|größe|groesse|gr\.?|taille|talla|taglia|tg\.?|storlek|str\.?|размер|尺码|尺寸)"
SIZED = re.compile(rf"\b{SAID_SIZE}\s*[:：.]?\s*({LETTER_SIZE}|\d{{1,3}}(?:[.,]5)?)(?![\w.,%])")
LABEL_ALONE = re.compile(rf"^({LETTER_SIZE})$")
REGIONAL = re.compile(r"(?<!\w)(eu|eur|uk|us|usa|fr|it|d|de)\s*[:：.]?\s*(\d{1,2}(?:[.,]5)?)(?![\w.,%])")
JEANS = re.compile(r"(?<!\w)w\s*(\d{2})\s*[/x,]?\s*l\s*(\d{2})(?!\w)")
REGIONS = {"eur": "EU", "usa": "US", "d": "DE"}
REGIONAL_SIZES = {"EU": (15, 54), "DE": (15, 60), "FR": (30, 60), "IT": (30, 62), "UK": (2, 30), "US": (0, 30)}
# On packages an L is a litre, a "serving size 30 g" a quantity and "gr. 500" a weight. So nothing else may follow, and
# a number only counts where its word begins what is said.
SIZE_WORD = r"(?:size|grösse|größe|groesse|taille|talla|taglia|storlek|размер|尺码)\s*[:：.]?"
BEGINS = r"(?:^|[/|,;(·]\s*)"
ENDS = r"(?=\s*(?:$|[/|,;)·]))"
STATED_LETTER = re.compile(rf"\b{SIZE_WORD}\s*({LETTER_SIZE}){ENDS}", re.IGNORECASE)
STATED_NUMBER = re.compile(rf"{BEGINS}(?:(?i:{SIZE_WORD})|Gr\b\.?)\s*(\d{{1,3}}(?:[.,]5)?){ENDS}")
STATED_SHORT = re.compile(rf"{BEGINS}Gr\b\.?\s*((?i:{LETTER_SIZE})){ENDS}")
STATED_REGIONAL = re.compile(r"(?<!\w)(eu|uk|us)\s*[:：]?\s*(\d{1,2}(?:[.,]5)?)(?=\s*(?:$|[/|,;)·]|(?:eu|uk|us|cm)\b))")


def size_in(rows: Sequence[Row]) -> ReadAttribute | None:
    """A garment's size: "M", "XXL", ("38", "EU"), "W32 L34". A number alone is no size, whatever it stands on."""
    found = [attribute for row in rows for attribute in _sizes(row)]
    return max(found, key=lambda attribute: attribute.confidence, default=None)


def stated_size_in(rows: Sequence[Row]) -> ReadAttribute | None:
    """The size of what is in a package, only where a word or a system says that it is one: "Size M", ("42", "EU")."""
    found = [attribute for row in rows for attribute in _stated_sizes(row)]
    return max(found, key=lambda attribute: attribute.confidence, default=None)


def _stated_sizes(row: Row) -> Iterator[ReadAttribute]:
    text = row.text.strip()
    for pattern in (STATED_LETTER, STATED_NUMBER, STATED_SHORT):
        for value in pattern.findall(text):
            yield ReadAttribute("size", _letter_size(value), "", 0.9 * row.confidence)
    yield from _regional(STATED_REGIONAL, text.casefold(), row.confidence)


def _regional(pattern: re.Pattern[str], text: str, confidence: float) -> Iterator[ReadAttribute]:
    for region, number in pattern.findall(text):
        unit = REGIONS.get(region, region.upper())
        least, most = REGIONAL_SIZES[unit]
        if least <= float(number.replace(",", ".")) <= most:
            yield ReadAttribute("size", number.replace(",", "."), unit, 0.9 * confidence)


def _sizes(row: Row) -> Iterator[ReadAttribute]:
    text = row.text.casefold().strip()
    for width, length in JEANS.findall(text):
        yield ReadAttribute("size", f"W{width} L{length}", "", 0.95 * row.confidence)
    yield from _regional(REGIONAL, text, row.confidence)
    for value in SIZED.findall(text):
        yield ReadAttribute("size", _letter_size(value), "", 0.9 * row.confidence)
    if alone := LABEL_ALONE.match(text):
        # A single letter may be anything; two or more are hardly anything else.
        yield ReadAttribute("size", _letter_size(alone[1]), "", (0.5 if len(alone[1]) == 1 else 0.85) * row.confidence)


def _letter_size(value: str) -> str:
    """Upper case, and 2XL as XXL."""
    value = value.upper().replace(",", ".")
    return "XXL" if value == "2XL" else {"XXXL": "3XL", "XXXXL": "4XL"}.get(value, value)


# --- brand ------------------------------------------------------------------------------------------------------------
SLIPS = str.maketrans({"0": "o", "1": "l", "5": "s", "8": "b", "|": "l", "!": "l", "$": "s"})
SAID_BRAND = re.compile(r"^\s*(?:brand|marke|marque|marca|品牌)\s*[:：]?\s+(\S.*)$", re.IGNORECASE)
LEAST_GUESS = 0.4  # of words that merely stand out; below, two of them are as likely
LEAST_PROMINENT = 0.03  # letters this high, as a fraction of the photo's height


@dataclass(frozen=True, slots=True)
class _Lexicon:
    brands: Mapping[str, Mapping[str, str]]  # list name -> folded spelling -> brand
    generic: frozenset[str]


def brand_in(lines: Sequence[Line], lists: Iterable[str], largest_print: bool) -> ReadAttribute | None:
    """A brand of the lexicon, up to slips of the reader; else what is named as one, or stands out as one.

    `lists` are those of brands.toml that may be on it: an Apple on a carton is fruit, on a phone it is a maker.
    """
    lexicon = _lexicon()
    known = {spelling: brand for name in lists for spelling, brand in lexicon.brands[name].items()}
    named = (_known_brand(row, known, lexicon.generic) for row in _with_stacked(rows_of(lines)))
    if found := [brand for brand in named if brand is not None]:
        return max(found, key=lambda brand: brand.confidence)
    # In a table the value stands far from "Brand".
    if said := _said_brand(rows_of(lines, widest_gap=20)):
        return said
    return _prominent_brand(lines, lexicon.generic) if largest_print else None


def _known_brand(row: Row, known: Mapping[str, str], generic: frozenset[str]) -> ReadAttribute | None:
    """The best match of one to three words that follow each other."""
    words = [folded(word) for word in row.text.split()]
    runs = [words[i : i + n] for n in (1, 2, 3) for i in range(len(words) - n + 1)]
    best = min(
        (
            (slips, -len(spelling), brand)
            for run in runs
            for slips, spelling, brand in _near("".join(run), known, slips_allowed=generic.isdisjoint(run))
        ),
        default=None,
    )
    if best is None:
        return None
    slips, _length, brand = best
    # Small print names other companies as well: makers of boxes, owners of trade marks.
    prominence = min(1.0, 0.7 + 6 * row.height)
    return ReadAttribute("brand", brand, "", row.confidence * (0.95 - 0.15 * slips) * prominence)


def _near(text: str, known: Mapping[str, str], slips_allowed: bool) -> Iterator[tuple[int, str, str]]:
    """(slips, spelling, brand) of the brands that `text` may be. Short names allow no slip: LG is not LC.

    Nor do common words: "milk" is one letter from Milka, "phone" from iPhone.
    """
    if (brand := known.get(text)) is not None:
        yield 0, text, brand
        return
    for spelling, brand in known.items():
        allowed = 0 if len(spelling) < 5 else 1 if len(spelling) < 9 else 2
        if slips_allowed and allowed and abs(len(spelling) - len(text)) <= allowed:
            slips = edits(text.translate(SLIPS), spelling.translate(SLIPS))
            if slips <= allowed:
                yield slips, spelling, brand


def _with_stacked(rows: Sequence[Row]) -> list[Row]:
    """The rows, and each joined with the one below: GOD over MORGON."""
    stacked = [
        Row(f"{upper.text} {lower.text}", min(upper.confidence, lower.confidence), min(upper.height, lower.height))
        for upper, lower in pairwise(rows)
        if 0.5 < upper.height / max(lower.height, 1e-6) < 2
    ]
    return [*rows, *stacked]


def _said_brand(rows: Sequence[Row]) -> ReadAttribute | None:
    for row in rows:
        if said := SAID_BRAND.match(row.text):
            return ReadAttribute("brand", said[1].strip(" .:"), "", 0.85 * row.confidence)
    return None


def _prominent_brand(lines: Sequence[Line], generic: frozenset[str]) -> ReadAttribute | None:
    """The largest words that describe nothing. Printed on two sides of a carton they are no rivals of themselves."""
    named = [line for line in lines if line.height >= LEAST_PROMINENT and _may_be_a_name(line.text, generic)]
    if not named:
        return None
    best = max(named, key=lambda line: line.height * line.confidence)
    others = (line.height for line in named if edits(folded(line.text), folded(best.text)) > 2)
    certainty = 0.7 - 0.3 * min(1.0, max(others, default=0.0) / best.height)
    same = [line for line in named if edits(folded(line.text), folded(best.text)) <= 2]
    best_read = max(same, key=lambda line: line.confidence)
    confidence = best_read.confidence * certainty
    return ReadAttribute("brand", best_read.text.strip(" .,:;"), "", confidence) if confidence >= LEAST_GUESS else None


def _may_be_a_name(text: str, generic: frozenset[str]) -> bool:
    words = [folded(word) for word in text.split()]
    letters = sum(c.isalpha() for c in text)
    return (
        1 <= len(words) <= 3 and letters >= 3 and letters >= 0.8 * len(text.replace(" ", "")) and not generic & {*words}
    )


def folded(text: str) -> str:
    """Letters and digits only, without case and accents: as it is compared."""
    # Decomposed first: what a raised capital comes apart into is a capital still.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(c for c in plain if c.isalnum())


def edits(one: str, other: str) -> int:
    """Levenshtein distance: insertions, deletions and replacements from one to the other."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@cache
def _lexicon() -> _Lexicon:
    table = tomllib.loads(BRANDS.read_text("utf-8"))
    spelled: Mapping[str, str] = table["spelled"]
    lists = {name: brands for name, brands in table.items() if isinstance(brands, list)}
    return _Lexicon(
        {name: {folded(brand): str(spelled.get(brand, brand)) for brand in brands} for name, brands in lists.items()},
        frozenset(folded(word) for word in table["generic"]["words"]),
    )
