"""The attributes consumer."""

from services.attributes.task import AttributesTask
from shared.stream.serving import Parts, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader


def parts(_settings: WorkerSettings, reader: Reader) -> Parts:
    return Parts([AttributesTask(reader)], reader.pack_name)


if __name__ == "__main__":
    run_worker("attributes", lambda settings: parts(settings, open_reader(settings)))
