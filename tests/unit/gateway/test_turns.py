"""Who is served when many wait."""

import asyncio

from services.gateway.turns import Turns


async def serve(turns: Turns, caller: str, served: list[str]) -> None:
    async with turns.turn(caller):
        served.append(caller)
        await asyncio.sleep(0)


async def test_callers_take_turns_however_much_each_of_them_waits_with() -> None:
    turns, served = Turns(1), list[str]()
    waiting = [asyncio.create_task(serve(turns, caller, served)) for caller in [*"aaaa", *"bb", "c"]]
    await asyncio.gather(*waiting)
    assert "".join(served) == "aabcaba"


async def test_a_caller_who_is_alone_has_every_place() -> None:
    turns = Turns(3)
    async with turns.turn("a"), turns.turn("a"), turns.turn("a"):
        fourth = asyncio.create_task(serve(turns, "a", []))
        await asyncio.sleep(0)
        assert not fourth.done()
    await fourth


async def test_who_gives_up_waiting_keeps_nobody_from_a_turn() -> None:
    turns, served = Turns(1), list[str]()
    async with turns.turn("a"):
        waiting = [asyncio.create_task(serve(turns, caller, served)) for caller in "bc"]
        await asyncio.sleep(0)
        waiting[0].cancel()
    await waiting[1]
    assert served == ["c"]


async def test_who_gives_up_in_the_moment_of_being_called_passes_the_turn_on() -> None:
    turns, served = Turns(1), list[str]()
    first = turns.turn("a")
    await first.__aenter__()
    waiting = [asyncio.create_task(serve(turns, caller, served)) for caller in "bc"]
    await asyncio.sleep(0)
    await first.__aexit__(None, None, None)
    waiting[0].cancel()
    await asyncio.wait_for(waiting[1], 5)
    assert served == ["c"]
    async with asyncio.timeout(5), turns.turn("d"):
        pass
