"""The fraud consumer, and the follower that takes removed photos out of its hash bank."""

import asyncio

from services.fraud.bank import open_bank
from services.fraud.removals import follow_removals
from services.fraud.task import FraudTask
from shared.stream.serving import Parts, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader


def parts(settings: WorkerSettings, reader: Reader) -> Parts:
    bank = open_bank(settings.redis, wait_for_disk=settings.wait_for_disk)
    return Parts(
        [FraudTask(reader, bank)],
        reader.pack_name,
        beside=[lambda _device: follow_removals(bank, settings)],
        flushes=[bank.flushed],
        needs={"redis": lambda: asyncio.to_thread(bank.ping)},
    )


if __name__ == "__main__":
    run_worker("fraud", lambda settings: parts(settings, open_reader(settings)))
