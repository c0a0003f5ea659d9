"""The bank that contract tests run on: the fake and the real one."""

from collections.abc import Iterator

import pytest
import redis

from services.fraud.bank import PREFIX, Bank, open_bank
from tests.fakes_vision import FakeBank


@pytest.fixture(params=["memory", "redis"])
def bank(request: pytest.FixtureRequest) -> Iterator[Bank]:
    if request.param == "memory":
        yield FakeBank()
        return
    address = request.getfixturevalue("redis_url")
    forget_everything(address)
    with_redis = open_bank(address)
    yield with_redis
    with_redis.close()
    forget_everything(address)


def forget_everything(address: str) -> None:
    with redis.Redis.from_url(address) as client:
        for key in client.scan_iter(match=f"{PREFIX}*", count=1000):
            client.delete(key)
