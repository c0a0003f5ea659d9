"""Pictures of text as sellers draw them, different for each seed."""

import random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shared.photos import Pixels

TERMS = "free shipping on orders returns wash at degrees do not tumble dry cotton please read before you buy thanks"


def chart(seed: int, title: str = "SIZE CHART", ground: str = "white", ink: str = "black") -> Pixels:
    """A table with other numbers for each seed."""
    numbers = random.Random(seed)
    picture = Image.new("RGB", (1000, 1000), ground)
    draw = ImageDraw.Draw(picture)
    draw.text((320, 60), title, ink, ImageFont.load_default(60))
    columns, rows = ("", "XS", "S", "M", "L", "XL"), ("", "Chest", "Waist", "Hips", "Sleeve", "Length")
    for n in range(7):
        draw.line([(60, 200 + n * 110), (960, 200 + n * 110)], ink, 4)
        draw.line([(60 + n * 150, 200), (60 + n * 150, 860)], ink, 4)
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            text = column if y == 0 else row if x == 0 else str(numbers.randrange(40, 130))
            draw.text((75 + x * 150, 230 + y * 110), text, ink, ImageFont.load_default(34))
    return np.asarray(picture, dtype=np.uint8)


def card(seed: int) -> Pixels:
    words = random.Random(seed)
    ground, ink = words.choice([("white", "black"), ("navy", "white"), ("beige", "maroon"), ("black", "gold")])
    picture = Image.new("RGB", (900, 1200), ground)
    draw = ImageDraw.Draw(picture)
    for n in range(8):
        draw.text((70, 80 + n * 130), " ".join(words.choices(TERMS.split(), k=3)), ink, ImageFont.load_default(60))
    return np.asarray(picture, dtype=np.uint8)


def logo(seed: int) -> Pixels:
    letters = random.Random(seed)
    picture = Image.new("RGB", (800, 800), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse([200, 120, 600, 520], "firebrick")
    draw.text(
        (120, 580), "".join(letters.choices("ABCDEFGHKLMNOPRSTUVXYZ", k=7)), "firebrick", ImageFont.load_default(120)
    )
    return np.asarray(picture, dtype=np.uint8)


def washing_label(seed: int) -> Pixels:
    numbers = random.Random(seed)
    picture = Image.new("RGB", (800, 1000), "white")
    draw = ImageDraw.Draw(picture)
    for n in range(5):
        left = 80 + 130 * n
        draw.rectangle([left, 100, left + 90, 190], None, "black", 6)
        draw.text((left + 20, 120), str(numbers.choice([30, 40, 60, 95])), "black", ImageFont.load_default(40))
    for n, text in enumerate(("% COTTON", "% ELASTANE", " RN", " CA")):
        draw.text((80, 350 + 130 * n), f"{numbers.randrange(10, 99999)}{text}", "black", ImageFont.load_default(58))
    return np.asarray(picture, dtype=np.uint8)
