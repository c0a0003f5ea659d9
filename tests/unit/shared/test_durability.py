"""When a process may go on with the Redis that it finds, and when a flush proves what it is asked to prove."""

import json
from typing import Any

import pytest
from redis import exceptions

from shared.durability import Durability, Stamp, stamp_in, why_not_resume
from shared.errors import Replaced, Transient, Unusable

SERVER = {"run_id": "run-1", "master_replid": "repl-1", "connected_slaves": 0}
SOUND = {**SERVER, "maxmemory": 0, "maxmemory_policy": "noeviction", "aof_enabled": 1}
FLUSHED: list[Any] = [7, [1, 0], b"epoch", SERVER]


def ended(conversation: Any, *answers: list[Any]) -> list[Any]:
    """What was asked, of a conversation that comes to its end with these answers."""
    asked = [next(conversation), *(conversation.send(answer) for answer in answers[:-1])]
    with pytest.raises(StopIteration):
        conversation.send(answers[-1])
    return asked


def test_a_stamp_survives_its_way_through_metadata() -> None:
    stamp = Stamp("epoch", 12)
    assert stamp_in(json.dumps({"begun": 1, **stamp.written()})) == stamp


@pytest.mark.parametrize(
    "metadata", [None, "", "{}", "not json", '{"epoch": "e"}', '{"epoch": "e", "flushes": "x"}', "3"]
)
def test_metadata_of_somebody_else_is_no_stamp(metadata: str | None) -> None:
    assert stamp_in(metadata) is None


@pytest.mark.parametrize(
    ("epoch", "flushes", "committed", "why"),
    [
        (None, 0, [], None),
        ("a", 5, [None, Stamp("a", 5)], None),
        ("a", 5, [None], None),
        (None, 0, [None], "Redis is empty"),
        (None, 0, [Stamp("a", 1)], "Redis is empty"),
        ("b", 9, [Stamp("a", 1)], "another Redis"),
        ("a", 5, [Stamp("a", 4), Stamp("a", 6)], "older"),
    ],
)
def test_groups_resume_only_where_redis_bears_their_stamps_out(
    epoch: str | None, flushes: int, committed: list[Stamp | None], why: str | None
) -> None:
    told = why_not_resume(epoch, flushes, committed)
    assert told is None if why is None else why in str(told)


def test_a_start_that_is_refused_writes_nothing_and_says_what_to_do() -> None:
    conversation = Durability("join", 1.0).resume([Stamp("a", 1)])
    assert {command[0] for command in next(conversation)} == {"INFO", "GET"}
    with pytest.raises(Transient, match="vitrine rebuild"):
        conversation.send([SOUND, None, None])


def test_each_flush_leaves_its_stamp() -> None:
    durability = Durability("join", 1.0)
    ended(durability.resume([]), [SOUND, None, None], ["OK", 1, b"epoch"], [2, [1, 0], b"epoch", SERVER])
    assert durability.stamp == Stamp("epoch", 2)
    ended(durability.flush(), FLUSHED)
    assert durability.stamp == Stamp("epoch", 7)


@pytest.mark.parametrize("changed", [{"run_id": "run-2"}, {"master_replid": "repl-2"}])
def test_a_flush_in_another_incarnation_than_that_of_the_start_proves_nothing(changed: dict[str, str]) -> None:
    durability = Durability("join", 1.0)
    ended(durability.resume([]), [SOUND, None, None], ["OK", 1, b"epoch"], FLUSHED)
    conversation = durability.flush()
    next(conversation)
    with pytest.raises(Replaced, match="restarted or replaced"):
        conversation.send([8, [1, 0], b"epoch", SERVER | changed])
    assert durability.stamp == Stamp("epoch", 7)


@pytest.mark.parametrize("epoch", [None, b"another"])
def test_a_redis_that_was_emptied_under_a_process_is_noticed(epoch: bytes | None) -> None:
    durability = Durability("join", 1.0)
    ended(durability.resume([]), [SOUND, None, None], ["OK", 1, b"epoch"], FLUSHED)
    for conversation, answers in (
        (durability.flush(), [1, [1, 0], epoch, SERVER]),
        (durability.still_there(), [SERVER, epoch]),
    ):
        next(conversation)
        with pytest.raises(Replaced, match="emptied or exchanged"):
            conversation.send(answers)


def test_a_redis_that_restarted_during_the_start_is_noticed() -> None:
    conversation = Durability("join", 1.0).resume([])
    next(conversation)
    conversation.send([SOUND, None, None])
    conversation.send(["OK", 1, b"epoch"])
    with pytest.raises(Replaced, match="restarted or replaced"):
        conversation.send([2, [1, 0], b"epoch", SERVER | {"run_id": "run-2"}])


def test_where_there_are_replicas_one_of_them_has_to_write_too() -> None:
    durability = Durability("join", 1.0)
    with_replica = [7, [1, 0], b"epoch", SERVER | {"connected_slaves": 2}]
    ((_, wait, *_),) = ended(durability.flush(), with_replica)
    assert wait[:3] == ("WAITAOF", 1, 0)
    conversation = durability.flush()
    assert next(conversation)[1][:3] == ("WAITAOF", 1, 1)
    with pytest.raises(Transient, match="no replica"):
        conversation.send(with_replica)


def test_a_disk_that_takes_too_long_is_told() -> None:
    conversation = Durability("join", 3.0).flush()
    next(conversation)
    with pytest.raises(Transient, match="within 3 s"):
        conversation.send([7, [0, 0], b"epoch", SERVER])


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"aof_enabled": 0}, "appendonly yes"),
        ({"maxmemory": 10, "maxmemory_policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
    ],
)
def test_a_redis_that_would_drop_records_is_refused_at_the_start(about: dict[str, Any], why: str) -> None:
    conversation = Durability("join", 1.0).resume([])
    next(conversation)
    with pytest.raises(Unusable, match=why):
        conversation.send([SOUND | about, None, None])


def test_a_redis_without_waitaof_is_one_line() -> None:
    conversation = Durability("join", 1.0).flush()
    next(conversation)
    unknown = exceptions.ResponseError("unknown command 'WAITAOF', with args beginning with: '1'")
    with pytest.raises(Unusable, match=r"Redis 7\.2 or later"):
        conversation.send([7, unknown, b"epoch", SERVER])


def test_who_does_not_wait_for_the_disk_asks_nobody_and_leaves_no_stamp() -> None:
    durability = Durability("join", 1.0, wait_for_disk=False)
    with pytest.raises(StopIteration):
        next(durability.flush())
    assert durability.stamp is None


def test_a_rebuilt_redis_is_borne_out_by_all_that_was_committed() -> None:
    durability = Durability("join", 1.0)
    _, asked, _ = ended(durability.restore([Stamp("a", 4), Stamp("a", 9)]), [b"3"], ["OK", "OK"], FLUSHED)
    assert list(asked) == [("SET", "join:epoch", "a"), ("SET", "join:flushes", 10)]
