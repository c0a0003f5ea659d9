"""scripts/strangers.py finds the photographs in a Qt resource file."""

import importlib.util
from io import BytesIO

from PIL import Image

from tests.conftest import PROJECT


def webp(side: int) -> bytes:
    body = BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(body, "WEBP")
    return body.getvalue()


def transparent() -> bytes:
    image, body = Image.new("RGBA", (200, 200), (9, 9, 9, 0)), BytesIO()
    image.save(body, "WEBP")
    return body.getvalue()


def test_photographs_are_cut_out_of_a_resource_file() -> None:
    spec = importlib.util.spec_from_file_location("strangers", PROJECT / "scripts" / "strangers.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    first, second = webp(160), webp(300)
    resources = b"qres RIFF then text" + first + webp(64) + transparent() + b"name" + second + b"RIFF"
    assert list(script._webp_photos(resources)) == [first, second]
