"""The classification consumer."""

from services.classification.task import ClassificationTask
from shared.stream.serving import Parts, WorkerSettings, run_worker
from shared.vision.reader import Reader, open_reader


def parts(_settings: WorkerSettings, reader: Reader) -> Parts:
    return Parts([ClassificationTask(reader)], reader.pack_name)


if __name__ == "__main__":
    run_worker("classification", lambda settings: parts(settings, open_reader(settings)))
