"""The fused consumer: all four tasks in one process, with one fetch, one decode and one trunk forward for all."""

from collections.abc import Sequence

from shared.stream.serving import Wiring, WorkerSettings, run_worker
from shared.topics import TASKS


def fused(settings: WorkerSettings, names: Sequence[str]) -> Wiring:
    """The wiring of the named services over one reader."""
    from services.attributes.__main__ import wiring as attributes
    from services.classification.__main__ import wiring as classification
    from services.embedding.__main__ import wiring as embedding
    from services.fraud.__main__ import wiring as fraud
    from shared.vision.reader import open_reader

    builders = dict(zip(TASKS, (classification, attributes, embedding, fraud), strict=True))
    reader = open_reader(settings)
    each = [builders[name](settings, reader) for name in names]
    return Wiring(
        [task for wiring in each for task in wiring.tasks],
        reader.pack_name,
        [start for wiring in each for start in wiring.beside],
        next((wiring.keeper for wiring in each if wiring.keeper), None),
        [group for wiring in each for group in wiring.other_groups],
    )


if __name__ == "__main__":
    run_worker("fused", lambda settings: fused(settings, TASKS))
