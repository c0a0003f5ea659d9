"""The self-test's photo comes from the gateway's store, or a worker in front of another one would find itself sound."""

from pathlib import Path

import pytest
from vitrine.events.v1 import image_pb2

from services.gateway.__main__ import planted
from shared.errors import Transient
from shared.photo_store import PhotoStore, open_photo_store
from shared.stream.fetching import fetch_from
from shared.stream.known_good import KNOWN_GOOD_PHOTO, known_good, plant
from shared.stream.records import Assignment, Record
from shared.topics import IMAGE_UPLOADED
from shared.vision.decode import decode


@pytest.fixture
def store(tmp_path: Path) -> PhotoStore:
    return open_photo_store(str(tmp_path))


async def test_a_store_without_it_is_not_the_gateways(store: PhotoStore) -> None:
    with pytest.raises(Transient, match="is it the gateway's store"):
        await known_good(store)


async def test_what_the_gateway_lays_there_is_what_a_worker_tests_itself_with(store: PhotoStore) -> None:
    await planted(store, store.check)()
    photo = await fetch_from(store, decode)(await known_good(store))
    assert photo.body == KNOWN_GOOD_PHOTO.read_bytes()
    assert photo.self_test and photo.fresh().self_test


async def test_a_damaged_one_is_said_to_be(store: PhotoStore, tmp_path: Path) -> None:
    await plant(store)
    key = image_pb2.ImageUploaded.FromString((await known_good(store)).value).photo.object_key
    (tmp_path / key).write_bytes(b"damaged")
    with pytest.raises(Transient, match="is damaged"):
        await known_good(store)


async def test_only_its_topic_makes_it_the_self_tests(store: PhotoStore) -> None:
    await plant(store)
    genuine = await known_good(store)
    assert genuine.self_test
    uploaded = Record(Assignment(IMAGE_UPLOADED.name, 0), 0, genuine.key, genuine.value)
    assert not uploaded.self_test
    assert not (await fetch_from(store, decode)(uploaded)).self_test
