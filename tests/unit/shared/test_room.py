"""Who may hold how much at once, and who waits."""

import asyncio

from shared.room import Room


async def test_a_room_is_given_in_the_order_asked_for() -> None:
    room, order = Room(10), list[int]()

    async def take(size: int) -> None:
        async with room.held(size):
            order.append(size)
            await asyncio.sleep(0)

    await asyncio.gather(take(8), take(9), take(1), take(2))
    assert order == [8, 9, 1, 2]


async def test_what_is_larger_than_the_room_gets_it_alone() -> None:
    room = Room(10)
    async with room.held(1):
        larger = asyncio.create_task(holds(room, 25))
        await asyncio.sleep(0)
        assert not larger.done()
    await larger


async def test_of_small_things_only_so_many_are_held() -> None:
    room = Room(10, holders=2)
    async with room.held(1), room.held(1):
        third = asyncio.create_task(holds(room, 1))
        await asyncio.sleep(0)
        assert not third.done()
    await third


async def test_what_is_no_longer_needed_lets_the_next_in_and_is_given_back_once() -> None:
    room = Room(10)
    async with room.held(10) as held:
        second = asyncio.create_task(holds(room, 6))
        await asyncio.sleep(0)
        assert not second.done()
        held.shrink(4)
        await second
    await holds(room, 10)


async def test_who_gives_up_waiting_leaves_no_gap() -> None:
    room = Room(10)
    async with room.held(10):
        impatient = asyncio.create_task(holds(room, 5))
        await asyncio.sleep(0)
        impatient.cancel()
    await holds(room, 10)


async def holds(room: Room, size: int) -> None:
    async with room.held(size):
        pass
