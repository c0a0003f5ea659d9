"""What is known of a photo, and what outlives its pixels."""

from typing import Any

import numpy as np
import pytest
from vitrine.events.v1 import image_pb2

from shared.photos import Photo, Pixels
from shared.stream.worker.remembered import Look

UPLOAD = image_pb2.ImageUploaded(listing_id="one")


def decode(body: bytes, at_least: int | None) -> Pixels:
    return np.zeros((1, 1, 3), np.uint8)


def never() -> Any:
    raise AssertionError("it is known")


def test_notes_are_made_once_and_outlive_the_photo() -> None:
    photo = Photo(b"a", UPLOAD, decode)
    assert photo.noted("colour", lambda: "red") == photo.noted("colour", never) == "red"
    again = Look("00", {}, photo.notes).photo(image_pb2.ImageUploaded(listing_id="other"))
    assert again.noted("colour", never) == "red"
    assert again.upload.listing_id == "other"


def test_a_try_anew_knows_nothing_of_the_one_before() -> None:
    photo = Photo(b"a", UPLOAD, decode)
    photo.noted("colour", lambda: "red")
    assert photo.fresh().noted("colour", lambda: "blue") == "blue"


def test_who_asks_a_remembered_photo_for_pixels_is_told_of_notes() -> None:
    photo = Look("00", {}, {}).photo(UPLOAD)
    with pytest.raises(LookupError, match="has to be noted"):
        photo.pixels(224)
