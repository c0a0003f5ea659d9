"""Who is let in, and what is held of their messages, without gRPC."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.protobuf.message import DecodeError
from grpc import aio

from shared.grpc import MAX_QUESTION_BYTES, Admission, Bounds, Refusal
from shared.limits import MAX_MESSAGE_BYTES

PHOTO, QUESTION = "SearchByPhoto", "GetListing"


def admission(calls: int = 2, photo_bytes: int = MAX_MESSAGE_BYTES) -> Admission:
    return Admission(Bounds(calls=calls, photo_bytes=photo_bytes), {PHOTO})


def sends(message: object) -> Callable[[], Awaitable[object]]:
    async def read() -> object:
        return message

    return read


def parse(message: bytes) -> bytes:
    if message == b"corrupt":
        raise DecodeError("cut off")
    return message


async def turns() -> None:
    """Everything that can go on without others goes on."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_calls_beyond_the_most_are_refused_until_one_ends() -> None:
    doors = admission(calls=2)
    with doors.call():
        with doors.call(), pytest.raises(Refusal, match="2 calls are under way") as refusal, doors.call():
            raise AssertionError("let in")
        assert refusal.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        with doors.call():
            pass


def test_a_call_that_fails_gives_its_place_back() -> None:
    doors = admission(calls=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), doors.call():
            raise ZeroDivisionError


class Caller:
    """Sends a photo and is answered when told to."""

    def __init__(self, doors: Admission, size: int, method: str = PHOTO) -> None:
        self.message = b"x" * size
        self.was_read = asyncio.Event()
        self.may_end = asyncio.Event()
        self._doors, self._method = doors, method
        self.task = asyncio.create_task(self._call())

    async def _read(self) -> bytes:
        self.was_read.set()
        return self.message

    async def _call(self) -> None:
        async with self._doors.request(self._method, self._read, parse) as request:
            assert request == self.message
            await self.may_end.wait()


async def test_messages_are_not_read_before_there_is_room_for_the_largest() -> None:
    doors = admission(photo_bytes=2 * MAX_MESSAGE_BYTES)
    large, small, waits = Caller(doors, MAX_MESSAGE_BYTES), Caller(doors, 10), Caller(doors, 10)
    await turns()
    assert [caller.was_read.is_set() for caller in (large, small, waits)] == [True, True, False]
    large.may_end.set()
    await turns()
    assert waits.was_read.is_set()
    for caller in (small, waits):
        caller.may_end.set()
        await caller.task


async def test_a_message_holds_as_much_as_it_has_once_it_is_read() -> None:
    doors = admission(photo_bytes=2 * MAX_MESSAGE_BYTES)
    callers = [Caller(doors, 10) for _ in range(20)]
    await turns()
    assert all(caller.was_read.is_set() for caller in callers)
    for caller in callers:
        caller.may_end.set()
        await caller.task


async def test_questions_do_not_wait_for_photos() -> None:
    doors = admission()
    photo, question = Caller(doors, MAX_MESSAGE_BYTES), Caller(doors, 10, QUESTION)
    await turns()
    assert question.was_read.is_set()
    for caller in (photo, question):
        caller.may_end.set()
        await caller.task


async def test_who_hangs_up_in_line_or_while_held_leaves_no_gap() -> None:
    doors = admission()
    held, in_line, last = Caller(doors, 10), Caller(doors, 10), Caller(doors, 10)
    await turns()
    in_line.task.cancel()
    await turns()
    held.task.cancel()
    await turns()
    assert not in_line.was_read.is_set() and last.was_read.is_set()
    last.may_end.set()
    await last.task


@pytest.mark.parametrize(
    ("method", "message", "says"),
    [
        (QUESTION, b"x" * (MAX_QUESTION_BYTES + 1), "262,145 bytes beside a photo"),
        (QUESTION, b"corrupt", "can't be read: cut off"),
        (PHOTO, b"corrupt", "can't be read: cut off"),
        (PHOTO, aio.EOF, "no message"),
    ],
)
async def test_what_is_no_request_is_refused_and_holds_nothing(method: str, message: object, says: str) -> None:
    doors = admission()
    for _ in range(5):
        with pytest.raises(Refusal, match=says) as refusal:
            async with doors.request(method, sends(message), parse):
                raise AssertionError("let in")
        assert refusal.value.code == grpc.StatusCode.INVALID_ARGUMENT
    async with doors.request(method, sends(b"fine"), parse) as request:
        assert request == b"fine"


async def test_who_stalls_while_sending_is_let_go_of_and_the_next_has_its_turn() -> None:
    async def never() -> object:
        return await asyncio.Future()

    doors = Admission(Bounds(photo_bytes=MAX_MESSAGE_BYTES, arrival_seconds=0.01), {PHOTO})
    with pytest.raises(Refusal, match=r"not arrived after 0\.01 s") as refusal:
        async with doors.request(PHOTO, never, parse):
            raise AssertionError("let in")
    assert refusal.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    async with doors.request(PHOTO, sends(b"fine"), parse) as request:
        assert request == b"fine"
