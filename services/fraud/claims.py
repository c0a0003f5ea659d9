"""What a seller's free-text category means, as far as it is certain, and whether a seen category contradicts it.

Categories are compared as *kinds* (tops, footwear, fruit …), which are coarser than the taxonomy's leaves: sellers
disagree about shirt and blouse, and so do classifiers. Words that mean several things have several kinds; words that
mean none of ours (a phone case, a coffee mug) have none, and nothing is held against them.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from enum import Enum


class Kind(Enum):
    """Value: how a reviewer would call it."""

    TOP = "a top"
    OUTERWEAR = "outerwear"
    DRESS = "a dress"
    SKIRT = "a skirt"
    BOTTOMS = "trousers or shorts"
    FOOTWEAR = "footwear"
    HEADWEAR = "headwear"
    FRUIT = "fruit"
    VEGETABLE = "vegetables"
    PACKAGED_FOOD = "packaged food or drink"
    PHONE = "a phone"


GARMENTS = frozenset({Kind.TOP, Kind.OUTERWEAR, Kind.DRESS, Kind.SKIRT, Kind.BOTTOMS, Kind.FOOTWEAR, Kind.HEADWEAR})
GROCERIES = frozenset({Kind.FRUIT, Kind.VEGETABLE, Kind.PACKAGED_FOOD})
DOMAINS = (GARMENTS, GROCERIES, frozenset({Kind.PHONE}))

# Honest sellers mix these up, or one photo shows both.
NEIGHBOURS = frozenset(
    frozenset(pair)
    for pair in (
        (Kind.TOP, Kind.OUTERWEAR),
        (Kind.TOP, Kind.DRESS),
        (Kind.OUTERWEAR, Kind.DRESS),
        (Kind.DRESS, Kind.SKIRT),
        (Kind.SKIRT, Kind.BOTTOMS),
        (Kind.FRUIT, Kind.VEGETABLE),
    )
)

GARMENT_KINDS = {
    **dict.fromkeys(("t-shirt", "shirt", "blouse", "top", "undershirt", "polo", "longsleeve", "body"), Kind.TOP),
    **dict.fromkeys(("hoodie", "outwear", "blazer"), Kind.OUTERWEAR),
    **dict.fromkeys(("pants", "shorts"), Kind.BOTTOMS),
    "dress": Kind.DRESS,
    "skirt": Kind.SKIRT,
    "shoes": Kind.FOOTWEAR,
    "hat": Kind.HEADWEAR,
}
OTHER_KINDS = {
    ("groceries", "Fruit"): frozenset({Kind.FRUIT}),
    ("groceries", "Vegetables"): frozenset({Kind.VEGETABLE}),
    ("groceries", "Packages"): frozenset({Kind.PACKAGED_FOOD}),
    ("packages",): frozenset({Kind.PACKAGED_FOOD}),
    ("electronics", "phone"): frozenset({Kind.PHONE}),
    # How far an unknown photo may be known.
    ("garments",): GARMENTS,
    ("groceries",): GROCERIES,
}

# What sellers write, in the languages that they write it in. One line a kind; lower case, without accents.
WORDS = {
    Kind.TOP: """
        t-shirt, tshirt, t shirt, tee, tee-shirt, shirt, blouse, top, tank top, undershirt, vest top, polo, polo
        shirt, longsleeve, long sleeve, body, bodysuit, tunic, camisole, hemd, bluse, unterhemd, oberteil,
        langarmshirt, poloshirt, chemise, chemisier, haut, maillot de corps, camisa, camiseta, blusa, camicia,
        maglietta, футболка, рубашка, t恤, 衬衫, 衬衣, 上衣, 女式衬衫, 背心, polo衫""",
    Kind.OUTERWEAR: """
        hoodie, hooded sweatshirt, sweatshirt, sweater, jumper, pullover, cardigan, jacket, coat, blazer, outerwear,
        outwear, parka, anorak, fleece, windbreaker, raincoat, jacke, mantel, kapuzenpullover, strickjacke, sakko,
        veste, manteau, pull, sweat a capuche, chaqueta, abrigo, sudadera, giacca, cappotto, felpa, куртка, пальто,
        худи, 外套, 夹克, 卫衣, 大衣, 西装, 毛衣""",
    Kind.DRESS: "dress, gown, sundress, kleid, abendkleid, robe, vestido, vestito, платье, 连衣裙, 裙装",
    Kind.SKIRT: "skirt, miniskirt, rock, jupe, falda, gonna, юбка, 裙子, 半身裙",
    Kind.BOTTOMS: """
        pants, trousers, jeans, chinos, leggings, shorts, joggers, sweatpants, slacks, hose, kurze hose, pantalon,
        pantalones, pantaloni, short, bermudas, брюки, джинсы, шорты, 裤子, 长裤, 短裤, 牛仔裤""",
    Kind.FOOTWEAR: """
        shoe, sneaker, trainer, boot, sandal, heels, high heels, loafer, slipper, footwear, schuh, schuhe,
        turnschuhe, stiefel, sandale, sandalen, chaussure, basket, baskets, botte, zapato, zapatilla, bota, scarpa,
        scarpe, stivali, обувь, кроссовки, ботинки, 鞋, 鞋子, 运动鞋, 靴子, 凉鞋""",
    Kind.HEADWEAR: """
        hat, cap, beanie, baseball cap, headwear, hut, mutze, kappe, chapeau, casquette, bonnet, sombrero, gorra,
        cappello, berretto, шапка, кепка, 帽子, 棒球帽""",
    Kind.FRUIT: """
        fruit, fresh fruit, apple, pear, banana, lemon, lime, mango, melon, watermelon, nectarine, papaya, passion
        fruit, peach, pineapple, plum, pomegranate, grapefruit, satsuma, mandarin, kiwi fruit, avocado, obst, apfel,
        birne, banane, zitrone, pfirsich, pflaume, ananas, fruta, manzana, platano, limon, frutta, mela, pomme,
        poire, fruits, фрукты, 水果, 苹果, 香蕉, 梨, 柠檬, 桃子, 菠萝""",
    Kind.VEGETABLE: """
        vegetable, veg, veggies, asparagus, aubergine, eggplant, cabbage, carrot, cucumber, garlic, ginger, leek,
        mushroom, onion, bell pepper, potato, beet, tomato, zucchini, courgette, gemuse, kartoffel, tomate, gurke,
        zwiebel, mohre, karotte, legume, verdura, cebolla, patata, pomodoro, овощи, 蔬菜, 土豆, 番茄,
        西红柿, 黄瓜, 洋葱""",
    Kind.PACKAGED_FOOD: """
        juice, orange juice, apple juice, milk, oat milk, oat drink, soy milk, almond milk, yoghurt, yogurt, sour
        cream, kefir, drink, beverage, carton, milk carton, juice carton, dairy, dairy product, soft drink,
        milch, vollmilch, hafermilch, sojamilch, saft, orangensaft, apfelsaft, joghurt, sahne, lait, jus, jus
        d'orange, yaourt, creme, leche, zumo, yogur, latte, succo, молоко, сок, йогурт, 牛奶, 果汁, 橙汁,
        酸奶, 饮料, 豆奶, 燕麦奶""",
    Kind.PHONE: """
        phone, smartphone, smart phone, mobile phone, cell phone, cellphone, mobile, iphone, android phone, handy,
        mobiltelefon, telephone, telephone portable, movil, telefono, telefonino, cellulare, телефон, смартфон, 手机,
        智能手机, 电话""",
}
# Words that mean something else as well, and then what: "Tee" is German for tea, "Apple" a brand of phones.
AMBIGUOUS = {
    "tee": {Kind.PACKAGED_FOOD},
    "apple": {Kind.PHONE},
    "rock": set(GARMENTS),
    "robe": {Kind.OUTERWEAR},
    "body": {Kind.DRESS, Kind.BOTTOMS},
    "hose": set(GARMENTS),
    "latte": {Kind.VEGETABLE},
    "basket": {Kind.TOP, Kind.BOTTOMS},
    "legume": {Kind.PACKAGED_FOOD},
    "polo": {Kind.FOOTWEAR, Kind.OUTERWEAR},
    "ananas": {Kind.PACKAGED_FOOD},
    "tomate": {Kind.PACKAGED_FOOD},
}
# Where any kind of the group may be meant.
GROUPS = {
    "clothes, clothing, apparel, garment, fashion, kleidung, mode, vetements, ropa, abbigliamento, одежда": GARMENTS,
    "服装, 衣服": GARMENTS,
    "grocery, food, lebensmittel, epicerie, alimentos, продукты, 食品": GROCERIES,
}
# They say for whom, not what.
FOR_WHOM = """
    men, mens, man, women, womens, woman, ladies, lady, boys, boy, girls, girl, kids, kid, children, childrens, child,
    baby, unisex, adult, adults, herren, damen, kinder, homme, femme, enfant, hombre, mujer, ninos, uomo, donna,
    bambini, for, fur, pour, para, per, and, new, used, vintage"""
AUDIENCE_WORDS = frozenset(word.strip() for word in FOR_WHOM.split(","))


def kinds_of_claim(category: str) -> frozenset[Kind]:
    """All that a claimed category may mean; empty when it is not known to mean any of our kinds.

    Of a path ("Clothing > Men > T-Shirts") the last part counts. Of several words the whole phrase counts, else the
    last word, which in English and German names the thing: a "phone case" is no phone.
    """
    for part in reversed(re.split(r"[>/|›»→\\]", category)):
        if words := _words(part):
            return _kinds_of_phrase(words)
    return frozenset()


def kinds_of_path(path: Sequence[str]) -> frozenset[Kind]:
    """The kinds that a seen category may be; empty when it is none of ours or not known."""
    if len(path) >= 2 and path[0] == "garments":
        kind = GARMENT_KINDS.get(path[1])
        return frozenset({kind}) if kind else GARMENTS
    for depth in range(len(path), 0, -1):
        if kinds := OTHER_KINDS.get(tuple(path[:depth])):
            return kinds
    return frozenset()


def contradict(claimed: frozenset[Kind], seen: frozenset[Kind]) -> bool:
    """True only if both are known and nothing that is claimed is, or borders on, anything that is seen."""
    return bool(claimed and seen) and not any(_compatible(one, other) for one in claimed for other in seen)


def are_worlds_apart(claimed: frozenset[Kind], seen: frozenset[Kind]) -> bool:
    """Whether they share not even a domain: a phone and a shirt. False when either is not known."""
    return bool(claimed and seen) and not any(domain & claimed and domain & seen for domain in DOMAINS)


def _compatible(one: Kind, other: Kind) -> bool:
    return one is other or frozenset({one, other}) in NEIGHBOURS


def _kinds_of_phrase(words: list[str]) -> frozenset[Kind]:
    for phrase in (" ".join(words), words[-1]):
        for spelling in (phrase, phrase.removesuffix("s"), phrase.removesuffix("es"), _y_for_ies(phrase)):
            if spelling in MEANINGS:
                return MEANINGS[spelling]
    return frozenset()


def _y_for_ies(phrase: str) -> str:
    return phrase[:-3] + "y" if phrase.endswith("ies") else phrase


def _words(text: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return [word for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", plain.replace("'s", "")) if word not in AUDIENCE_WORDS]


def _meanings() -> dict[str, frozenset[Kind]]:
    kinds: dict[str, set[Kind]] = defaultdict(set)
    for listed, group in [*((words, {kind}) for kind, words in WORDS.items()), *GROUPS.items()]:
        for phrase in listed.split(","):
            kinds[" ".join(_words(phrase))] |= group
    for word, others in AMBIGUOUS.items():
        kinds[word] |= others
    return {word: frozenset(meant) for word, meant in kinds.items()}


MEANINGS = _meanings()
