"""The attributes consumer."""

from services.attributes.task import AttributesTask
from shared.stream.serving import Wiring, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader
from shared.vision.regions import open_regions


def wiring(settings: WorkerSettings, reader: Reader) -> Wiring:
    return Wiring([AttributesTask(reader, open_regions(settings))], reader.pack_name)


if __name__ == "__main__":
    run_worker("attributes", lambda settings: wiring(settings, open_reader(settings)))
