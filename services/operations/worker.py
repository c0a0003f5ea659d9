"""`vitrine worker`: several tasks in one process, with one fetch, one decode and one trunk forward for all."""

import click

from shared.serving import Parts, WorkerSettings, run_worker
from shared.topics import TASKS


@click.command()
@click.option("--tasks", default="all", show_default=True, help=f"all, or some of {', '.join(TASKS)}, with commas")
def worker(tasks: str) -> None:
    """Run the consumers fused in one process. One task alone joins that task's own group, several the fused one."""
    names = list(TASKS) if tasks == "all" else [name.strip() for name in tasks.split(",")]
    if unknown := sorted(set(names) - set(TASKS)):
        raise click.BadParameter(
            f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}", param_hint="--tasks"
        )
    run_worker(names[0] if len(names) == 1 else "fused", lambda settings: fused(settings, names))


def fused(settings: WorkerSettings, names: list[str]) -> Parts:
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
