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


ONLINE = {"connected_slaves": 1, "slave0": {"state": "online"}}


@pytest.mark.parametrize(("acknowledged", "wanted"), [(1, 1), (0, 0)])
def test_a_replica_is_waited_for_if_it_has_shown_that_it_keeps_a_file(acknowledged: int, wanted: int) -> None:
    durability = Durability("join", 1.0)
    resuming = durability.resume([])
    probe, *_ = ended(
        resuming,
        [SOUND | ONLINE, None, None],
        [1, [0, acknowledged]],
        ["OK", 1, b"epoch"],
        [2, [1, wanted], b"epoch", SERVER | ONLINE],
    )[1:]
    assert probe[1][:3] == ("WAITAOF", 0, 1)
    flush = durability.flush()
    assert next(flush)[1][:3] == ("WAITAOF", 1, wanted)


def test_where_replicas_are_waited_for_one_that_stalls_is_told_and_one_that_left_is_not() -> None:
    durability = Durability("join", 1.0)
    resumed = [2, [1, 1], b"epoch", SERVER | ONLINE]
    ended(durability.resume([]), [SOUND | ONLINE, None, None], [1, [0, 1]], ["OK", 1, b"epoch"], resumed)
    stalls = durability.flush()
    next(stalls)
    with pytest.raises(Transient, match="no replica"):
        stalls.send([3, [1, 0], b"epoch", SERVER | ONLINE])
    ended(durability.flush(), [4, [1, 0], b"epoch", SERVER])
    assert next(durability.flush())[1][:3] == ("WAITAOF", 1, 0)


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


def test_a_redis_that_is_being_rebuilt_is_resumed_from_by_nobody_until_it_is_restored() -> None:
    durability = Durability("join", 1.0)
    ((closing,),) = ended(durability.close(), ["OK"])
    assert closing[:2] == ("SET", "join:epoch")
    assert "isn't at its end" in str(why_not_resume(str(closing[2]), 5, []))
    written, _ = ended(durability.restore(Stamp("new", 1)), ["OK", "OK"], FLUSHED)
    assert list(written) == [("SET", "join:epoch", "new"), ("SET", "join:flushes", 1)]
    assert why_not_resume("new", 2, [Stamp("new", 1), None]) is None


@pytest.mark.parametrize(
    ("now", "is_another"),
    [
        ({"master_replid": "repl-2", "role": "master", "master_replid2": "0" * 40}, False),
        ({"master_replid": "repl-2", "role": "master", "master_replid2": "repl-1"}, True),
        ({"master_replid": "repl-2", "role": "slave", "master_replid2": "0" * 40}, True),
        ({"run_id": "run-2", "role": "master", "master_replid2": "0" * 40}, True),
    ],
)
def test_a_redis_that_only_gives_its_history_another_name_goes_on(now: dict[str, str], is_another: bool) -> None:
    durability = Durability("join", 1.0)
    ended(durability.resume([]), [SOUND, None, None], ["OK", 1, b"epoch"], FLUSHED)
    for answers in ([8, [1, 0], b"epoch", SERVER | now], [9, [1, 0], b"epoch", SERVER | now]):
        conversation = durability.flush()
        next(conversation)
        with pytest.raises(Replaced if is_another else StopIteration):
            conversation.send(answers)
