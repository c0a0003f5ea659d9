"""The fused consumer: all four tasks in one process, with one fetch, one decode and one trunk forward for all."""

from collections.abc import Sequence

from shared.stream.serving import Parts, WorkerSettings, run_worker
from shared.topics import TASKS


def fused(settings: WorkerSettings, names: Sequence[str]) -> Parts:
    """The parts of the named services over one reader."""
    from services.attributes.__main__ import parts as attributes
    from services.classification.__main__ import parts as classification
    from services.embedding.__main__ import parts as embedding
    from services.fraud.__main__ import parts as fraud
    from shared.vision.reader import open_reader

    builders = dict(zip(TASKS, (classification, attributes, embedding, fraud), strict=True))
    reader = open_reader(settings)
    each = [builders[name](settings, reader) for name in names]
    return Parts(
        [task for parts in each for task in parts.tasks],
        reader.pack_name,
        [start for parts in each for start in parts.beside],
        [flush for parts in each for flush in parts.flushes],
        {reason: check for parts in each for reason, check in parts.needs.items()},
    )


if __name__ == "__main__":
    run_worker("fused", lambda settings: fused(settings, TASKS))
