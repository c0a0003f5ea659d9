"""The kinds of product that are drawn as solid things, and what their sellers call them."""

from collections.abc import Callable
from dataclasses import dataclass

from studio import bags, gear, household, printed
from studio.fields import Random
from studio.paints import Paint
from studio.solids import Solid

Path = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of product: its category, how it is drawn and photographed, and what a seller says of it.

    `draw` takes one of `forms`. A camera looks down on it by `pitch` radians, and it is turned by up to `yaw` either
    way; whatever is looked down on steeply lies on the ground. `coloured` where the thing has one colour.
    """

    path: Path
    draw: Callable[[str, Paint, Random], Solid]
    forms: tuple[str, ...]
    pitch: tuple[float, float]
    yaw: float
    words: tuple[str, ...]  # English first, then other languages
    price: tuple[int, int]
    coloured: bool = False


KINDS: dict[str, Kind] = {
    "backpack": Kind(
        ("accessories", "bags", "backpack"),
        bags.backpack,
        ("day", "flap", "slim"),
        (0.05, 0.4),
        0.7,
        ("backpack", "Rucksack", "sac à dos", "mochila"),
        (25, 120),
        coloured=True,
    ),
    "handbag": Kind(
        ("accessories", "bags", "handbag"),
        bags.handbag,
        ("structured", "satchel", "baguette"),
        (0.05, 0.4),
        0.6,
        ("handbag", "Handtasche", "sac à main", "bolso de mano"),
        (30, 250),
        coloured=True,
    ),
    "tote": Kind(
        ("accessories", "bags", "tote-bag"),
        bags.tote,
        ("tall", "wide", "deep"),
        (0.05, 0.4),
        0.5,
        ("tote bag", "Tragetasche", "sac cabas", "bolsa de tela"),
        (6, 30),
        coloured=True,
    ),
    "watch": Kind(
        ("accessories", "watch"),
        gear.watch,
        ("field", "chrono", "dress", "digital"),
        (0.05, 0.4),
        0.5,
        ("wrist watch", "Armbanduhr", "montre", "reloj de pulsera"),
        (30, 400),
    ),
    "sunglasses": Kind(
        ("accessories", "sunglasses"),
        gear.sunglasses,
        ("wayfarer", "round", "aviator"),
        (0.15, 0.5),
        0.6,
        ("sunglasses", "Sonnenbrille", "lunettes de soleil", "gafas de sol"),
        (10, 150),
    ),
    "mug": Kind(
        ("home", "kitchen", "mug"),
        household.mug,
        ("straight", "barrel", "tapered", "bell"),
        (0.15, 0.6),
        0.9,
        ("mug", "Becher", "tasse", "taza"),
        (4, 25),
        coloured=True,
    ),
    "pot": Kind(
        ("home", "kitchen", "pot"),
        household.pot,
        ("stewpot", "saucepan"),
        (0.3, 0.8),
        0.4,
        ("cooking pot", "Kochtopf", "casserole", "olla"),
        (15, 120),
    ),
    "lamp": Kind(
        ("home", "lighting", "lamp"),
        household.lamp,
        ("drum", "cone", "desk"),
        (0.0, 0.3),
        0.4,
        ("lamp", "Lampe", "lampe de table", "lámpara"),
        (20, 160),
    ),
    "chair": Kind(
        ("furniture", "chair"),
        household.chair,
        ("slat", "padded", "folding"),
        (0.1, 0.5),
        0.9,
        ("chair", "Stuhl", "chaise", "silla"),
        (30, 300),
    ),
    "headphones": Kind(
        ("electronics", "audio", "headphones"),
        gear.headphones,
        ("studio", "on-ear", "boom"),
        (0.1, 0.5),
        0.8,
        ("headphones", "Kopfhörer", "casque audio", "auriculares"),
        (25, 300),
    ),
    "laptop": Kind(
        ("electronics", "computers", "laptop"),
        gear.laptop,
        ("slim", "office"),
        (0.2, 0.6),
        0.6,
        ("laptop", "Notebook", "ordinateur portable", "ordenador portátil"),
        (300, 1500),
    ),
    "book": Kind(
        ("media", "book"),
        printed.book,
        ("hardback", "paperback", "album"),
        (0.0, 0.3),
        0.5,
        ("book", "Buch", "livre", "libro"),
        (4, 40),
    ),
    "crisps": Kind(
        ("groceries", "Snacks", "crisps"),
        printed.packet,
        ("pillow", "wide", "small"),
        (0.0, 0.3),
        0.4,
        ("crisps", "Chips", "paquet de chips", "patatas fritas"),
        (1, 5),
    ),
    "football": Kind(
        ("sports", "balls", "football"),
        gear.sports_ball,
        ("football",),
        (0.1, 0.6),
        0.0,
        ("football", "Fußball", "ballon de football", "balón de fútbol"),
        (8, 60),
    ),
    "scissors": Kind(
        ("tools", "scissors"),
        gear.scissors,
        ("office", "tailor", "craft"),
        (1.0, 1.5),
        3.1,
        ("scissors", "Schere", "ciseaux", "tijeras"),
        (3, 40),
    ),
    "basketball": Kind(
        ("sports", "balls", "basketball"),
        gear.sports_ball,
        ("basketball",),
        (0.1, 0.6),
        0.0,
        ("basketball", "Basketball", "ballon de basket", "balón de baloncesto"),
        (10, 60),
    ),
    "tennis ball": Kind(
        ("sports", "balls", "tennis-ball"),
        gear.sports_ball,
        ("tennis",),
        (0.1, 0.6),
        0.0,
        ("tennis ball", "Tennisball", "balle de tennis", "pelota de tenis"),
        (3, 12),
    ),
    "beach ball": Kind(
        ("sports", "balls", "beach-ball"),
        gear.sports_ball,
        ("beach",),
        (0.1, 0.6),
        0.0,
        ("beach ball", "Strandball", "ballon de plage", "pelota de playa"),
        (4, 20),
    ),
    "frying pan": Kind(
        ("home", "kitchen", "frying-pan"),
        household.pot,
        ("frying",),
        (0.3, 0.8),
        0.4,
        ("frying pan", "Bratpfanne", "poêle", "sartén"),
        (15, 80),
    ),
}


@dataclass(frozen=True)
class Ware:
    """A design of a kind, as it is called in English."""

    name: str
    kind: str  # a key of KINDS
    form: str  # one of the kind's
