"""The fraud consumer, and the follower that takes removed photos out of its hash bank."""

from services.fraud.bank import open_bank
from services.fraud.removals import GROUP as REMOVALS
from services.fraud.removals import follow_removals
from services.fraud.task import FraudTask
from shared.stream.serving import Wiring, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader


def wiring(settings: WorkerSettings, reader: Reader) -> Wiring:
    bank = open_bank(settings.redis, wait_for_disk=settings.wait_for_disk)
    return Wiring(
        [FraudTask(reader, bank)],
        reader.pack_name,
        beside=[lambda _device: follow_removals(bank, settings)],
        keeper=bank,
        other_groups=[REMOVALS],
    )


if __name__ == "__main__":
    run_worker("fraud", lambda settings: wiring(settings, open_reader(settings)))
