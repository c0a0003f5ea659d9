"""The gateway as it is deployed: its own process, a real broker, real HTTP; read back with a plain consumer."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Message
from vitrine.events.v1 import image_pb2, listing_pb2

from shared.stream.admin import create_topics, reader
from shared.stream.reading import read_all
from shared.topics import IMAGE_UPLOADED, LISTING_CHANGED, Topic
from tests.gateway import CLAIMS, form, photo, problem

LISTINGS = "/v1/listings"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@dataclass(frozen=True)
class Running:
    """A gateway process: where callers and where probes ask it."""

    client: httpx.Client
    admin: httpx.Client


def running(kafka: str, folder: Path, **more: str) -> Iterator[Running]:
    """Until the test ends; then it must end by itself on SIGTERM."""
    port, metrics_port = free_port(), free_port()
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "VITRINE_KAFKA": kafka,
        "VITRINE_PHOTO_STORE": str(folder),
        "VITRINE_HTTP_PORT": str(port),
        "VITRINE_METRICS_PORT": str(metrics_port),
        "VITRINE_RECOMMENDATION": f"127.0.0.1:{free_port()}",
        "VITRINE_DRAIN_SECONDS": "0",
        **more,
    }
    with subprocess.Popen([sys.executable, "-m", "services.gateway"], env=env) as process:
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
            httpx.Client(base_url=f"http://127.0.0.1:{metrics_port}", timeout=60) as admin,
        ):
            _wait_until_live(client, process)
            yield Running(client, admin)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def _wait_until_live(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/openapi.json").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("the gateway did not start")


@pytest.fixture(scope="module")
def process(kafka: str, folder: Path) -> Iterator[Running]:
    create_topics(kafka)
    yield from running(kafka, folder)


@pytest.fixture(scope="module")
def gateway(process: Running) -> httpx.Client:
    return process.client


def records(kafka: str, topic: Topic, key: str) -> list[Message]:
    """All records of one listing in a topic, as they lie there now."""
    consumer = reader(kafka)
    try:
        return [message for message in read_all(consumer, kafka, topic) if message.key() == key.encode()]
    finally:
        consumer.close()


def headers(message: Message) -> dict[str, str]:
    pairs: Any = message.headers() or []
    return {name: value.decode() for name, value in pairs if isinstance(value, bytes)}


def upload(gateway: httpx.Client, *photos: bytes, claims: Any = CLAIMS, **sent: str) -> httpx.Response:
    return gateway.post(LISTINGS, files=form(claims, *photos), headers=sent)


def test_what_was_acknowledged_lies_on_the_broker_and_in_the_store(
    gateway: httpx.Client, kafka: str, folder: Path
) -> None:
    response = upload(gateway, photo(1), photo(2), traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    assert response.status_code == 202, response.text
    listing_id = response.json()["listing_id"]

    [changed] = records(kafka, LISTING_CHANGED, listing_id)
    uploaded = records(kafka, IMAGE_UPLOADED, listing_id)
    change = listing_pb2.ListingChanged.FromString(changed.value() or b"")
    uploads = [image_pb2.ImageUploaded.FromString(message.value() or b"") for message in uploaded]
    assert change.revision == response.json()["revision"]
    assert [u.photo for u in uploads] == list(change.listing.photos)
    assert [u.position for u in uploads] == [0, 1], "one key, one partition, in order"
    for message, kind in [(changed, "listing.changed"), *((m, "image.uploaded") for m in uploaded)]:
        told = headers(message)
        assert (told["ce_specversion"], told["ce_type"]) == ("1.0", f"vitrine.{kind}.v1")
        assert (told["ce_source"], told["ce_subject"]) == ("/vitrine/gateway", listing_id)
        assert told["content-type"] == "application/protobuf"
        assert told["traceparent"].split("-")[1] == TRACE_ID
    assert len({headers(m)["ce_id"] for m in uploaded}) == 2
    for u in uploads:
        assert (folder / u.photo.object_key).stat().st_size == u.photo.size_bytes


def test_a_repeat_of_an_idempotency_key_puts_nothing_more_on_the_broker(gateway: httpx.Client, kafka: str) -> None:
    with ThreadPoolExecutor(2) as callers:
        key = {"Idempotency-Key": "contract"}
        first, second = callers.map(lambda _: upload(gateway, photo(3), **key), range(2))
    third = upload(gateway, photo(3), **key)
    assert first.json() == second.json() == third.json()
    listing_id = first.json()["listing_id"]
    changes = records(kafka, LISTING_CHANGED, listing_id)
    assert len({headers(message)["ce_id"] for message in changes}) == 1
    before = len(changes)
    upload(gateway, photo(3), **key)
    assert len(records(kafka, LISTING_CHANGED, listing_id)) == before


def test_a_takedown_is_a_message_of_its_own(gateway: httpx.Client, kafka: str) -> None:
    listing_id = upload(gateway, photo(4)).json()["listing_id"]
    assert gateway.delete(f"{LISTINGS}/{listing_id}").status_code == 202
    last = records(kafka, LISTING_CHANGED, listing_id)[-1]
    removed = listing_pb2.ListingChanged.FromString(last.value() or b"").removed
    assert (removed.reason, removed.seller_id) == ("takedown", "seller-42")


def test_the_answer_to_twenty_five_mebibytes_reaches_who_is_still_sending(gateway: httpx.Client) -> None:
    response = upload(gateway, photo(5) + bytes(25 * 1024 * 1024))
    assert (problem(response), response.status_code) == ("photo-too-large", 413)


def test_twelve_large_photos_are_one_upload(gateway: httpx.Client) -> None:
    photos = [photo(n, (1000, 1000), quality=95) for n in range(12)]
    response = upload(gateway, *photos)
    assert len(response.json()["photos"]) == 12


def test_it_is_ready_and_says_pending_for_what_no_one_has_joined(process: Running) -> None:
    gateway = process.client
    assert process.admin.get("/readyz").text == "ok\n"
    listing_id = upload(gateway, photo(6)).json()["listing_id"]
    # No recommendation service runs here: the gateway says that, rather than guess.
    assert problem(gateway.get(f"{LISTINGS}/{listing_id}")) == "lookup-unavailable"
    assert "vitrine_gateway_accepted_photos_total" in process.admin.get("/metrics").text


@pytest.mark.parametrize("path", ["/startz", "/livez", "/readyz", "/metrics"])
def test_probes_and_metrics_are_not_for_callers(process: Running, path: str) -> None:
    assert process.admin.get(path).is_success
    assert problem(process.client.get(path)) == "no-such-page"


def test_what_a_killed_gateway_left_is_swept_by_the_next(folder: Path) -> None:
    left = folder / "photos" / "ab" / f"{'ab' * 32}#1"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"half a photo")
    os.utime(left, (0, 0))
    for _ in running(f"127.0.0.1:{free_port()}", folder, VITRINE_ACKNOWLEDGE_SECONDS="2"):
        deadline = time.monotonic() + 30
        while left.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not left.exists()


def test_what_a_gateway_left_half_published_is_completed_by_the_next(
    gateway: httpx.Client, kafka: str, tmp_path: Path
) -> None:
    # The first gateway's broker isn't there: what it took in is written down, and not published.
    for dying in running(f"127.0.0.1:{free_port()}", tmp_path, VITRINE_ACKNOWLEDGE_SECONDS="1"):
        refused = dying.client.put(f"{LISTINGS}/left", files=form(CLAIMS, photo(8)))
        assert problem(refused) == "broker-unavailable"
        assert "may still be completed" in refused.json()["detail"]
    for _ in running(kafka, tmp_path, VITRINE_PENDING_SECONDS="0.4"):
        deadline = time.monotonic() + 30
        while any((tmp_path / "pending").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
    [changed] = records(kafka, LISTING_CHANGED, "left")
    [uploaded] = records(kafka, IMAGE_UPLOADED, "left")
    change = listing_pb2.ListingChanged.FromString(changed.value() or b"")
    image = image_pb2.ImageUploaded.FromString(uploaded.value() or b"")
    assert (image.revision, image.photo) == (change.revision, change.listing.photos[0])
    assert image.uploaded_at == change.accepted_at


def test_without_a_broker_it_lives_is_not_ready_and_promises_nothing(folder: Path) -> None:
    for gateway in running(f"127.0.0.1:{free_port()}", folder, VITRINE_ACKNOWLEDGE_SECONDS="2"):
        assert gateway.admin.get("/livez").is_success
        ready = gateway.admin.get("/readyz")
        assert (ready.status_code, ready.text.startswith("broker: ")) == (503, True)
        assert problem(upload(gateway.client, photo(7))) == "broker-unavailable"
