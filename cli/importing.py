"""`vitrine import`: a folder of photos, or a CSV with claims, uploaded through the gateway."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.plain import Command
from client.importing import (
    GATEWAY,
    Failures,
    Imported,
    ListingUpload,
    State,
    complain,
    import_listings,
    read_source,
    state_path,
    summary,
)
from shared.settings import Settings


@click.command("import", cls=Command)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--gateway", default=GATEWAY, show_default=True, metavar="URL", help="The gateway's address.")
@click.option("--seller", metavar="ID", help="Seller of a folder [default: local], or of CSV rows that name none.")
@click.option("--by-folder", is_flag=True, help="One listing per folder of photos, not one per photo.")
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1, 64), help="Uploads at once.")
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to note what was uploaded [default: a file under VITRINE_HOME/data/imports].",
)
def import_(
    path: Path, gateway: str, seller: str | None, by_folder: bool, concurrency: int, state_file: Path | None
) -> None:
    """Upload the photos of a folder, or the rows of a CSV with claims.

    PATH is a folder (each photo below it is a listing titled after its file; with --by-folder each folder is one) or a
    CSV with the columns reference, seller_id, title, category, brand, price, currency, photos (paths separated by ;).

    Run it again to go on after an interruption: what was uploaded is skipped, what changed becomes a new revision. Ends
    with status 1 when anything could not be imported.
    """
    if not gateway.startswith(("http://", "https://")):
        raise click.BadParameter(f"{gateway!r} is not an address; write it like {GATEWAY}", param_hint="--gateway")
    source = read_source(path, seller, by_folder)
    state = State.open(state_file or state_path(Settings().home, path, gateway))
    started = time.monotonic()
    errors = Console(stderr=True)
    for bad in source.bad:
        complain(errors, str(bad))
    try:
        ended = asyncio.run(_with_progress(source.uploads, gateway, state, concurrency, errors))
    except KeyboardInterrupt:
        raise click.ClickException("stopped; run the same command again to go on") from None
    finally:
        state.close()
    click.echo(f"{summary(ended, len(source.bad))} in {time.monotonic() - started:.1f} s")
    if source.bad or any(one.error for one in ended):
        raise SystemExit(1)


async def _with_progress(
    uploads: Sequence[ListingUpload], gateway: str, state: State, concurrency: int, errors: Console
) -> list[Imported]:
    with Progress(
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=errors,
    ) as progress:
        bar = progress.add_task("importing", total=len(uploads), failed=0)
        failures = Failures(progress.console)

        def ended(one: Imported) -> None:
            failures.show(one)
            progress.update(bar, advance=1, failed=failures.count)

        return await import_listings(uploads, gateway, ended, state=state, concurrency=concurrency)
