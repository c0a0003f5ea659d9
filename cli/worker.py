"""`vitrine worker`: several tasks in one process, with one fetch, one decode and one trunk forward for all."""

import click

from cli.plain import Command
from services.fused.__main__ import fused
from shared.stream.serving import run_worker
from shared.topics import TASKS


@click.command(cls=Command)
@click.option("--tasks", default="all", show_default=True, help=f"all, or some of {', '.join(TASKS)}, with commas")
def worker(tasks: str) -> None:
    """Run the consumers fused in one process. One task alone joins that task's own group, several the fused one."""
    names = list(TASKS) if tasks == "all" else [name.strip() for name in tasks.split(",")]
    if unknown := sorted(set(names) - set(TASKS)):
        raise click.BadParameter(
            f"no such task: {', '.join(unknown)}; there are {', '.join(TASKS)}", param_hint="--tasks"
        )
    run_worker(names[0] if len(names) == 1 else "fused", lambda settings: fused(settings, names))
