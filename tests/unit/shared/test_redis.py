"""What counts as a Redis that is away, and what as a bug; and addresses that are none."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import exceptions

from shared.errors import Transient, Unusable
from shared.redis import connect, connect_blocking, reaching_redis

AWAY = [
    exceptions.ConnectionError("refused"),
    exceptions.TimeoutError("no answer"),
    exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
    exceptions.ReadOnlyError("You can't write against a read only replica."),
    exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    exceptions.ClusterDownError("Hash slot not served"),
    exceptions.ResponseError("BUSY Redis is busy running a script."),
    exceptions.ResponseError("MISCONF Errors writing to the AOF file"),
    exceptions.ResponseError("Command # 2 (SET a 1) of pipeline caused error: NOREPLICAS Not enough good replicas"),
    ConnectionResetError("reset"),
    TimeoutError("timed out"),
]
BUGS = [
    exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    exceptions.ResponseError("user_script:3: Script attempted to access nonexistent global variable 'x'"),
    exceptions.ResponseError("unknown command 'WAITAOF'"),
    exceptions.DataError("Invalid input of type: 'NoneType'"),
    exceptions.NoPermissionError("this user has no permissions"),
    KeyError("version"),
]


@pytest.mark.parametrize("why", AWAY, ids=str)
def test_what_passes_by_itself_is_away(why: Exception) -> None:
    with pytest.raises(Transient, match=r"^the bank is away: "), reaching_redis("the bank"):
        raise why


@pytest.mark.parametrize("why", BUGS, ids=str)
def test_what_somebody_has_to_mend_stays_what_it_is(why: Exception) -> None:
    with pytest.raises(type(why)) as raised, reaching_redis():
        raise why
    assert raised.value is why


@pytest.mark.parametrize("opened", [connect, connect_blocking])
@pytest.mark.parametrize("address", ["127.0.0.1:6379", "http://127.0.0.1", "redis://:secret#1@host:6379/0", ""])
def test_an_address_that_is_none_is_told_without_its_password(opened: Callable[[str], Any], address: str) -> None:
    with pytest.raises(Unusable, match="VITRINE_REDIS is no address") as why:
        opened(address)
    assert "secret" not in str(why.value)
