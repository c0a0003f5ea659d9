"""What is rendered. The demo's templates and those that heads are trained on share no cut, box, handset, brand or colour."""

from dataclasses import dataclass

from services.operations.rendering.boxes import Carton
from services.operations.rendering.cloth import Colour
from services.operations.rendering.garments import Cut, Hat, Lower, Shoes, Skirt, Upper
from services.operations.rendering.lettering import Typeface
from services.operations.rendering.phones import Handset
from services.operations.rendering.scenes import Tone


@dataclass(frozen=True)
class Product:
    """What a brand sells in a carton: the name on the front and its possible quantities."""

    brand: str
    name: str
    quantities: tuple[str, ...]
    motif: str


@dataclass(frozen=True)
class Collection:
    """Everything one set of pictures is drawn from."""

    typeface: Typeface
    colours: dict[str, Colour]
    surfaces: tuple[tuple[str, Tone], ...]
    walls: tuple[Tone, ...]
    cuts: tuple[Cut, ...]
    cartons: tuple[Carton, ...]
    products: tuple[Product, ...]
    handsets: tuple[Handset, ...]
    phones: tuple[tuple[str, str, tuple[str, ...]], ...]  # brand, model, memories


DEMO = Collection(
    typeface="aileron",
    colours={
        "black": (0.09, 0.09, 0.10),
        "white": (0.93, 0.93, 0.92),
        "grey": (0.52, 0.53, 0.54),
        "red": (0.74, 0.10, 0.12),
        "orange": (0.91, 0.45, 0.10),
        "yellow": (0.93, 0.79, 0.20),
        "green": (0.16, 0.45, 0.24),
        "blue": (0.13, 0.32, 0.66),
        "purple": (0.42, 0.20, 0.52),
        "pink": (0.92, 0.55, 0.66),
        "brown": (0.40, 0.25, 0.15),
        "beige": (0.84, 0.75, 0.61),
    },
    surfaces=(
        ("planks", (0.66, 0.50, 0.35)),
        ("planks", (0.42, 0.28, 0.19)),
        ("planks", (0.80, 0.72, 0.62)),
        ("sheet", (0.87, 0.86, 0.84)),
        ("sheet", (0.56, 0.60, 0.66)),
        ("carpet", (0.62, 0.58, 0.52)),
        ("carpet", (0.34, 0.36, 0.38)),
        ("wall", (0.86, 0.84, 0.80)),
        ("wall", (0.72, 0.77, 0.78)),
        ("table", (0.88, 0.87, 0.85)),
        ("tiles", (0.80, 0.78, 0.74)),
    ),
    walls=((0.86, 0.84, 0.78), (0.70, 0.76, 0.78), (0.78, 0.72, 0.66), (0.62, 0.66, 0.62)),
    cuts=(
        Upper("harbour tee", "t-shirt", ("plain", "heather", "striped")),
        Upper("long-line tee", "t-shirt", ("plain", "heather"), length=1.5, waist=0.45, hem=0.46, sleeve=0.36, print="words:SLOW/RIVER"),
        Upper("vee tee", "t-shirt", ("plain", "heather"), neck_shape="v", neck=0.16, neck_depth=0.12, sleeve_angle=0.6),
        Upper("office shirt", "shirt", ("plain", "pinstriped"), neck_shape="collar", sleeve=1.08, sleeve_angle=1.18,
              sleeve_width=0.13, buttons=True, pocket="chest", hem_curve=0.12, length=1.5, cuffed=False),
        Upper("camp shirt", "shirt", ("checked", "pinstriped"), neck_shape="collar", sleeve=0.44, sleeve_angle=0.85,
              sleeve_width=0.2, buttons=True, pocket="chest", hem_curve=0.06, length=1.4),
        Upper("forest longsleeve", "longsleeve", ("plain", "heather", "striped"), sleeve=1.08, sleeve_angle=1.12, sleeve_width=0.115),
        Upper("knit jumper", "longsleeve", ("knitted",), sleeve=1.02, sleeve_angle=1.05, sleeve_width=0.15, cuffed=True),
        Upper("pier hoodie", "hoodie", ("plain", "heather"), neck_shape="hood", sleeve=1.05, sleeve_angle=1.1,
              sleeve_width=0.15, cuffed=True, pocket="kangaroo"),
        Upper("tea dress", "dress", ("flowered", "dotted", "plain"), length=1.95, chest=0.37, waist=0.31, hem=0.68, shoulder=0.37,
              skirt_from=0.42, sleeve=0.24, sleeve_width=0.15, hem_curve=0.1, neck=0.15),
        Upper("summer dress", "dress", ("plain", "flowered"), length=1.9, chest=0.34, waist=0.31, hem=0.6, shoulder=0.31,
              skirt_from=0.46, sleeve=0.0, hem_curve=0.08, neck=0.16, neck_depth=0.2),
        Lower("straight jeans", "pants", ("denim",)),
        Lower("chinos", "pants", ("plain",), hem=0.13, knee=0.15, spread=0.14),
        Lower("beach shorts", "shorts", ("plain", "flowered"), length=0.98, thigh=0.27, hem=0.25, spread=0.15, elastic=True),
        Lower("cut-off shorts", "shorts", ("denim",), length=0.86, thigh=0.26, hem=0.24, spread=0.14, cuff=True),
        Skirt("bell skirt", "skirt", ("plain", "dotted", "flowered")),
        Skirt("pleated skirt", "skirt", ("plain", "checked"), pleats=11, hem=0.8, length=1.0),
        Hat("ball cap", "hat", ("plain",)),
        Hat("watch cap", "hat", ("knitted",), form="beanie", height=0.66),
        Shoes("court sneakers", "shoes", ("plain",)),
    ),
    cartons=(
        Carton("tall gable", 0.95, 2.0, 0.95, True, "banner", "glass"),
        Carton("litre brick", 0.95, 1.95, 0.65, False, "flooded", "fruit"),
        Carton("flake box", 1.55, 2.2, 0.6, False, "banner", "bowl"),
    ),
    products=(
        Product("Alvoria", "Whole Milk", ("1 L", "500 ml"), "glass"),
        Product("Brinkmoor", "Orange Juice", ("1 L", "750 ml"), "fruit"),
        Product("Cestello", "Corn Flakes", ("500 g", "375 g"), "bowl"),
        Product("Dunmere", "Oat Drink", ("1 L", "250 ml"), "glass"),
        Product("Ferrano", "Apple Juice", ("1.5 L", "200 ml"), "fruit"),
        Product("Galdina", "Honey Muesli", ("750 g", "600 g"), "bowl"),
    ),
    handsets=(
        Handset("two-eyed", 2.05, 0.13, ((0.19, 0.19), (0.19, 0.40)), (0.06, 0.06, 0.46, 0.53), 0.085, 0.025, "hole", "list"),
        Handset("pillar", 2.15, 0.10, ((0.17, 0.17), (0.17, 0.37), (0.17, 0.57)), None, 0.075, 0.03, "drop", "panel"),
    ),
    phones=(
        ("Velora", "V7 Pro", ("128 GB", "256 GB")),
        ("Kestrel", "Nine", ("64 GB", "128 GB")),
        ("Ontari", "Air 5", ("256 GB", "512 GB")),
        ("Mirado", "M30", ("64 GB", "128 GB")),
    ),
)


TRAINING = Collection(
    typeface="rubik",
    colours={
        "black": (0.14, 0.13, 0.15),
        "charcoal": (0.25, 0.26, 0.28),
        "white": (0.88, 0.89, 0.90),
        "silver": (0.67, 0.68, 0.70),
        "red": (0.62, 0.14, 0.18),
        "coral": (0.86, 0.40, 0.34),
        "yellow": (0.86, 0.70, 0.28),
        "green": (0.28, 0.52, 0.36),
        "olive": (0.42, 0.43, 0.24),
        "navy": (0.12, 0.17, 0.34),
        "blue": (0.27, 0.46, 0.72),
        "sky": (0.58, 0.74, 0.86),
        "purple": (0.48, 0.33, 0.60),
        "pink": (0.85, 0.44, 0.58),
        "brown": (0.48, 0.33, 0.24),
        "beige": (0.78, 0.70, 0.58),
    },
    surfaces=(
        ("planks", (0.60, 0.46, 0.33)),
        ("planks", (0.36, 0.25, 0.18)),
        ("planks", (0.74, 0.68, 0.60)),
        ("sheet", (0.80, 0.79, 0.78)),
        ("sheet", (0.64, 0.14, 0.14)),
        ("sheet", (0.30, 0.31, 0.36)),
        ("sheet", (0.76, 0.68, 0.55)),
        ("carpet", (0.56, 0.50, 0.44)),
        ("carpet", (0.30, 0.27, 0.26)),
        ("rug", (0.48, 0.20, 0.16)),
        ("rug", (0.40, 0.44, 0.30)),
        ("wall", (0.80, 0.79, 0.77)),
        ("wall", (0.62, 0.55, 0.66)),
        ("table", (0.80, 0.80, 0.81)),
        ("table", (0.25, 0.24, 0.24)),
        ("tiles", (0.72, 0.70, 0.68)),
    ),
    walls=((0.80, 0.79, 0.76), (0.60, 0.64, 0.70), (0.70, 0.62, 0.55), (0.44, 0.47, 0.50), (0.85, 0.86, 0.88)),
    cuts=(
        Upper("boxy tee", "t-shirt", ("plain", "striped", "heather"), length=1.22, chest=0.5, waist=0.5, hem=0.5, sleeve=0.42,
              sleeve_angle=0.55, sleeve_width=0.2),
        Upper("slim tee", "t-shirt", ("plain", "dotted", "heather"), length=1.42, chest=0.42, waist=0.39, hem=0.42, shoulder=0.41,
              sleeve=0.34, print="disc"),
        Upper("deep vee tee", "t-shirt", ("plain", "striped"), neck_shape="v", neck=0.15, neck_depth=0.15, sleeve=0.38, length=1.3),
        Upper("slogan tee", "t-shirt", ("plain",), length=1.33, print="words:GOOD/DAYS", sleeve_angle=0.9),
        Upper("flannel shirt", "shirt", ("checked",), neck_shape="collar", sleeve=1.0, sleeve_angle=1.05, sleeve_width=0.14,
              buttons=True, hem_curve=0.08, length=1.42),
        Upper("dress shirt", "shirt", ("plain", "pinstriped", "dotted"), neck_shape="collar", sleeve=1.12, sleeve_angle=1.25,
              sleeve_width=0.12, buttons=True, hem_curve=0.16, length=1.55, chest=0.45),
        Upper("short shirt", "shirt", ("plain", "checked", "pinstriped", "flowered"), neck_shape="collar", sleeve=0.4,
              sleeve_angle=0.7, sleeve_width=0.19, buttons=True, hem_curve=0.1, length=1.32),
        Upper("plain longsleeve", "longsleeve", ("plain", "heather", "striped"), sleeve=1.12, sleeve_angle=1.2, sleeve_width=0.12,
              length=1.42, chest=0.44),
        Upper("wide longsleeve", "longsleeve", ("plain", "striped", "dotted"), sleeve=0.98, sleeve_angle=0.95, sleeve_width=0.14,
              length=1.25, print="bar"),
        Upper("pullover", "longsleeve", ("knitted", "heather"), sleeve=1.0, sleeve_angle=1.18, sleeve_width=0.16, cuffed=True,
              length=1.3, neck_shape="v", neck_depth=0.12),
        Upper("gym hoodie", "hoodie", ("plain", "heather"), neck_shape="hood", sleeve=1.0, sleeve_angle=1.0, sleeve_width=0.16,
              cuffed=True, pocket="kangaroo", length=1.28),
        Upper("long hoodie", "hoodie", ("plain", "heather"), neck_shape="hood", sleeve=1.1, sleeve_angle=1.22, sleeve_width=0.14,
              cuffed=True, pocket="kangaroo", length=1.45, chest=0.44, print="words:TEAM"),
        Upper("skater dress", "dress", ("plain", "flowered", "striped", "dotted"), length=1.75, chest=0.36, waist=0.3, hem=0.75,
              shoulder=0.35, skirt_from=0.45, sleeve=0.2, sleeve_width=0.14, hem_curve=0.12),
        Upper("shift dress", "dress", ("plain", "dotted", "flowered"), length=1.85, chest=0.38, waist=0.38, hem=0.5, shoulder=0.36,
              sleeve=0.3, sleeve_width=0.16, hem_curve=0.03),
        Upper("sun dress", "dress", ("plain", "flowered", "dotted"), length=1.8, chest=0.33, waist=0.3, hem=0.66, shoulder=0.28,
              skirt_from=0.4, sleeve=0.0, neck=0.17, neck_depth=0.16, hem_curve=0.1),
        Lower("wide jeans", "pants", ("denim",), hem=0.2, knee=0.2, thigh=0.26),
        Lower("slim trousers", "pants", ("plain", "pinstriped"), hem=0.11, knee=0.13, thigh=0.21, spread=0.07, hip=0.38, waist=0.32),
        Lower("track pants", "pants", ("plain", "heather"), elastic=True, hem=0.12, knee=0.17, cuff=True, spread=0.12),
        Lower("sports shorts", "shorts", ("plain", "striped", "dotted"), length=0.9, thigh=0.29, hem=0.28, spread=0.17, elastic=True),
        Lower("denim shorts", "shorts", ("denim",), length=0.8, thigh=0.24, hem=0.23, spread=0.13),
        Lower("bermudas", "shorts", ("plain", "checked"), length=1.15, thigh=0.25, hem=0.22, spread=0.13, cuff=True),
        Skirt("circle skirt", "skirt", ("plain", "flowered", "dotted"), hem=0.78, length=1.05, hem_curve=0.16),
        Skirt("pencil skirt", "skirt", ("plain", "checked", "denim"), hem=0.42, length=1.25, hem_curve=0.03),
        Skirt("school skirt", "skirt", ("checked", "plain"), pleats=9, hem=0.7, length=0.92),
        Skirt("tiered skirt", "skirt", ("plain", "flowered"), tiers=2, hem=0.72, length=1.3),
        Hat("team cap", "hat", ("plain", "denim"), width=0.58, height=0.66, brim=0.42),
        Hat("wide cap", "hat", ("plain",), width=0.7, height=0.68, brim=0.3),
        Hat("ribbed beanie", "hat", ("knitted", "striped"), form="beanie", width=0.66, height=0.75),
        Hat("fisher hat", "hat", ("plain", "denim", "flowered"), form="bucket"),
        Shoes("canvas sneakers", "shoes", ("plain", "denim"), length=1.35, width=0.4),
        Shoes("runners", "shoes", ("plain", "knitted"), length=1.2, width=0.48, toe=0.9),
        Shoes("slip-ons", "shoes", ("plain",), form="loafer", length=1.3, width=0.42),
    ),
    cartons=(
        Carton("small gable", 0.9, 1.55, 0.9, True, "slanted", "drops"),
        Carton("slim gable", 0.8, 2.1, 0.8, True, "framed", "hill"),
        Carton("half brick", 0.85, 1.4, 0.6, False, "slanted", "drops"),
        Carton("tall brick", 0.9, 2.2, 0.7, False, "framed", "hill"),
        Carton("wide box", 1.7, 2.0, 0.5, False, "slanted", "ears"),
        Carton("tea box", 1.4, 1.3, 0.8, False, "framed", "ears"),
    ),
    products=(
        Product("Hollenbach", "Fresh Milk", ("1 L", "500 ml"), "drops"),
        Product("Isolde", "Pear Nectar", ("1 L", "330 ml"), "hill"),
        Product("Juniper Hill", "Rice Drink", ("1 L", "250 ml"), "drops"),
        Product("Lindrow", "Wheat Flakes", ("400 g", "650 g"), "ears"),
        Product("Norvane", "Green Tea", ("100 g", "50 g"), "ears"),
        Product("Prestine", "Buttermilk", ("750 ml", "500 ml"), "drops"),
    ),
    handsets=(
        Handset("round plate", 2.0, 0.15, ((0.36, 0.24), (0.64, 0.24)), (0.2, 0.08, 0.8, 0.4), 0.09, 0.03, "drop", "cards"),
        Handset("square plate", 2.08, 0.12, ((0.17, 0.17), (0.36, 0.17), (0.17, 0.36)), (0.05, 0.05, 0.5, 0.5), 0.07, 0.022, "bar", "table"),
        Handset("single eye", 1.95, 0.09, ((0.15, 0.15),), None, 0.07, 0.05, "hole", "cards"),
        Handset("visor", 2.1, 0.12, ((0.2, 0.22), (0.42, 0.22)), (0.0, 0.13, 1.0, 0.32), 0.06, 0.028, "hole", "table"),
    ),
    phones=(
        ("Quantia", "Q4", ("64 GB", "128 GB")),
        ("Rondell", "Spark 2", ("128 GB", "256 GB")),
        ("Tessaro", "Note X", ("256 GB", "512 GB")),
        ("Umbriel", "Lite 8", ("32 GB", "64 GB")),
    ),
)
