import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from services.attributes.task import AttributesTask
from shared.errors import Poison
from shared.photos import Photo
from tests.fakes_vision import FakeReader, FakeRegions, FakeText, jpeg, line, photo_of

SEEN, READ = image_pb2.Attribute.SOURCE_SEEN, image_pb2.Attribute.SOURCE_READ
Found = dict[str, tuple[str, str, int]]


def red_on_white() -> bytes:
    picture = np.full((300, 240, 3), 235, np.uint8)
    picture[70:230, 60:180] = (190, 30, 35)
    return jpeg(picture)


def attributed(reader: FakeReader, text: FakeText, photo: Photo | None = None) -> image_pb2.ImageAttributed:
    task = AttributesTask(reader, FakeRegions(), text)
    photo = photo or photo_of(red_on_white())
    task.prepare(photo)
    (found,) = task.infer([photo], [None])
    (finding,) = task.conclude(photo, found)
    message = finding.message
    assert isinstance(message, image_pb2.ImageAttributed)
    return message


def found(message: image_pb2.ImageAttributed) -> Found:
    return {one.name: (one.value, one.unit, one.source) for one in message.attributes}


def test_a_garment_has_colour_and_audience_and_its_text_is_not_read() -> None:
    text = FakeText(line("SAMSUNG 128 GB"))
    message = attributed(FakeReader("garments", "t-shirt", audience=("kids", 0.8)), text)
    assert found(message) == {"colour": ("red", "", SEEN), "audience": ("kids", "", SEEN)}
    assert text.asked == 0
    assert message.assessment.pack == "fake@1"


def test_a_phone_has_memory_and_brand_but_no_audience_size_or_volume() -> None:
    text = FakeText(line("SAMSUNG", 0.1), line("128 GB", 0.3), line("XL", 0.5), line("1 L", 0.7))
    names = found(attributed(FakeReader("electronics", "phone"), text))
    assert names.keys() == {"colour", "brand", "memory"}
    assert names["memory"] == ("128", "GB", READ)
    assert names["brand"] == ("Samsung", "", READ)


def test_a_carton_has_volume_and_brand() -> None:
    text = FakeText(line("Oatly", 0.1), line("1,5 L", 0.5))
    names = found(attributed(FakeReader("packages", "carton"), text))
    assert names["volume"] == ("1.5", "l", READ)
    assert names["brand"] == ("Oatly", "", READ)


def test_a_carton_has_a_size_where_one_is_stated_and_a_litre_is_none() -> None:
    stated = found(attributed(FakeReader("packages", "carton"), FakeText(line("Size M", 0.1), line("1 L", 0.5))))
    assert (stated["size"], stated["volume"]) == (("M", "", READ), ("1", "l", READ))
    assert "size" not in found(
        attributed(FakeReader("packages", "carton"), FakeText(line("L", 0.1), line("600 g", 0.5)))
    )


def test_a_photo_of_nothing_known_has_what_the_pack_lets_everything_have() -> None:
    text = FakeText(line("128 GB"))
    assert found(attributed(FakeReader(known=False), text)).keys() == {"colour"}
    assert text.asked == 0


def test_a_colour_says_how_far_from_its_names_middle_it_is_and_nothing_else_does() -> None:
    message = attributed(FakeReader("garments", "t-shirt"), FakeText())
    distances = {one.name: one.lab_distance for one in message.attributes if one.HasField("lab_distance")}
    assert distances.keys() == {"colour"}
    assert 0 <= distances["colour"] < 5


def test_of_trousers_the_colour_is_what_is_worn_below_and_of_a_shirt_what_is_worn_above() -> None:
    picture = np.full((256, 256, 3), 235, np.uint8)
    picture[64:128, 64:192], picture[128:192, 64:192] = (190, 30, 35), (38, 116, 62)
    seen = {
        label: found(attributed(FakeReader("garments", label), FakeText(), photo_of(jpeg(picture))))["colour"][0]
        for label in ("t-shirt", "pants")
    }
    assert seen == {"t-shirt": "red", "pants": "green"}


def test_text_is_read_once_per_photo_however_many_ask() -> None:
    text, photo = FakeText(line("1 L")), photo_of(red_on_white())
    for _ in range(2):
        attributed(FakeReader("packages", "carton"), text, photo)
    assert text.asked == 1


def test_every_confidence_is_a_probability() -> None:
    text = FakeText(line("Oatly", 0.1), line("1,5 L", 0.5))
    message = attributed(FakeReader("packages", "carton"), text)
    assert all(0 < one.confidence <= 1 for one in message.attributes)


def test_a_photo_that_cannot_be_decoded_is_poison() -> None:
    with pytest.raises(Poison):
        AttributesTask(FakeReader(), FakeRegions(), FakeText()).prepare(photo_of(b"no photo"))
