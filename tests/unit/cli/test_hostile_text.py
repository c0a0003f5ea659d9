"""Whoever wrote a title, a name or a reason: no command's output does what it says."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from vitrine.events.v1 import enriched_pb2, image_pb2, listing_pb2
from vitrine.recommendation.v1 import recommendation_pb2

import cli.dlq
import cli.groups
import cli.packs
import cli.search
import cli.topics
from cli.__main__ import main
from client.listing import Effect, Imported
from client.words import Failures
from local import showing
from local.following import Answer
from shared.errors import Transient
from shared.screen import Screen
from shared.stream.dead_letters import DeadLetter
from shared.stream.offsets import Group, Standing
from shared.topics import IMAGE_UPLOADED
from shared.vision.pack import PackUnusable

HOSTILE = "Tee [xl] [/b] [red]:smile: \x1b[31m\x1b]0;x\x07 \x9b2J \u202egpj\u2066\u200b\r\nnew\0"
SEEN = r"Tee [xl] [/b] [red]:smile: \x1b[31m\x1b]0;x\x07 \x9b2J \u202egpj\u2066\u200b\r\nnew\x00"
# In a JSON string.
SEEN_AS_JSON = r"Tee [xl] [/b] [red]:smile: \u001b[31m\u001b]0;x\u0007 \u009b2J \u202egpj\u2066\u200b\r\nnew\u0000"


def hit() -> recommendation_pb2.Hit:
    listing = enriched_pb2.EnrichedListing(
        listing_id="0123456789abcdef",
        seller_id=HOSTILE,
        claims=listing_pb2.Claims(
            title=HOSTILE, price=listing_pb2.Money(currency_code=HOSTILE, units=19, nanos=990_000_000)
        ),
        category=image_pb2.Category(path=[HOSTILE], confidence=0.9),
        attributes=[image_pb2.Attribute(name="brand", value=HOSTILE, source=image_pb2.Attribute.SOURCE_READ)],
        fraud=image_pb2.Fraud(
            decision=image_pb2.Fraud.DECISION_REVIEW, reasons=[image_pb2.Reason(code="copy", explanation=HOSTILE)]
        ),
    )
    return recommendation_pb2.Hit(listing=listing, similarity=0.9)


def letter() -> DeadLetter:
    upload = image_pb2.ImageUploaded(listing_id="l1", seller_id=HOSTILE, claims=listing_pb2.Claims(title=HOSTILE))
    headers = {"dlq_topic": IMAGE_UPLOADED.name, "dlq_message": HOSTILE, "dlq_code": HOSTILE, HOSTILE: HOSTILE}
    return DeadLetter(0, 7, datetime(2026, 1, 1, tzinfo=UTC), HOSTILE, upload.SerializeToString(), headers)


def checked(said: str, *, as_json: bool = False) -> None:
    """Each hostile text is there as it is, on however many lines a table needs, and nothing of it gets through."""
    assert not any(bad in said for bad in ("\x1b", "\x07", "\x9b", "\u202e", "\u2066", "\u200b", "\0", "\r"))
    unfolded = "".join(char for char in said if not char.isspace() and char not in "│┃")
    assert "".join((SEEN_AS_JSON if as_json else SEEN).split()) in unfolded


def called(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": "400"}, catch_exceptions=False)


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands ask: the lookups, Kafka, a pack."""
    answer = recommendation_pb2.SearchByPhotoResponse(hits=[hit()])

    async def found(*_: object) -> recommendation_pb2.SearchByPhotoResponse:
        return answer

    monkeypatch.setattr(cli.search, "find", found)
    monkeypatch.setattr(cli.dlq, "dead_letters", lambda *_: iter([letter()]))
    monkeypatch.setattr(cli.dlq, "dead_letter_at", lambda *_: letter())
    monkeypatch.setattr(cli.groups, "admin", lambda _: None)
    monkeypatch.setattr(cli.groups, "group_names", lambda *_: [HOSTILE])
    monkeypatch.setattr(cli.groups, "describe", lambda *_: {HOSTILE: Group(HOSTILE, "empty", 0)})
    monkeypatch.setattr(cli.groups, "standings", lambda *_: [Standing(HOSTILE, HOSTILE, 0, 1, 0, 2)])


@pytest.fixture
def photo(tmp_path: Path) -> str:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"a photo")
    return str(path)


def test_search(photo: str) -> None:
    checked(called("search", photo).output)
    checked(called("search", photo, "--json").output, as_json=True)
    assert json.loads(called("search", photo, "--json").output)["hits"][0]["listing"]["seller_id"] == HOSTILE


def test_dlq() -> None:
    checked(called("dlq", "list").output)
    checked(called("dlq", "list", "--json").output, as_json=True)
    checked(called("dlq", "show", "7").output)
    assert json.loads(called("dlq", "show", "7", "--json").output)["image_uploaded"]["seller_id"] == HOSTILE


def test_groups() -> None:
    checked(called("groups", "list").output)


def test_what_a_server_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> None:
        raise Transient(HOSTILE)

    monkeypatch.setattr(cli.dlq, "dead_letters", failing)
    result = called("dlq", "list")
    assert result.exit_code == 1
    checked(result.output)


def test_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise PackUnusable(HOSTILE)

    monkeypatch.setattr(cli.packs, "read_manifest", broken)
    monkeypatch.setattr(cli.packs, "find_pack", lambda _: Path())
    monkeypatch.setattr(cli.packs, "installed_packs", lambda: [Path()])
    checked(called("packs", "show", "x").output)
    checked(called("packs", "list").output)


@pytest.mark.parametrize("command", ["import", "analyze", "run"])
def test_names_of_files(tmp_path: Path, command: str) -> None:
    folder = tmp_path / "a\x1b]0;x\x07\u202eb"
    folder.mkdir()
    arguments = {
        "import": [command, str(folder)],
        "analyze": [command, str(folder)],
        "run": ["run", "--photos", str(folder)],
    }
    result = called(*arguments[command])
    assert result.exit_code == 1
    assert not any(bad in result.output for bad in ("\x1b", "\x07", "\u202e"))


def test_import_failures() -> None:
    out = io.StringIO()
    failures = Failures(Screen(file=out, width=400))
    failures.show(Imported(HOSTILE, "s1", Effect.FAILED, error=HOSTILE))
    checked(out.getvalue())
    assert out.getvalue().count("\n") == 1


def test_the_tables_of_a_run() -> None:
    out = io.StringIO()
    screen = Screen(file=out, width=1000)
    imported = Imported("r", "s1", Effect.IMPORTED, "0123456789abcdef")
    screen.print(showing.listings_table([Answer(imported, hit().listing)]))
    checked(out.getvalue())
    screen.print(showing.hits_table(f"Similar to {HOSTILE}", [hit()]))
    checked(out.getvalue())
