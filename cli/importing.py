"""`vitrine import`: a folder of photos, or a CSV with claims, uploaded through the gateway."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import click
import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cli.plain import Command
from cli.tables import say
from client.feed import read_feed
from client.gateway import GATEWAY
from client.listing import Imported, ListingUpload
from client.state import State, state_path
from client.uploading import import_listings
from client.words import Failures, summary, tell_left_out
from shared.screen import Screen
from shared.settings import Settings
from shared.text import plain


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

    A listing is known by its seller and reference, from whichever file or machine it comes: imported again with other
    claims or photos it becomes a new revision, and as it is it is left alone. Run it again to go on after an
    interruption. Ends with status 1 when anything could not be imported; each such thing is named.
    """
    if not _is_address(gateway):
        raise click.BadParameter(f"{gateway!r} is not an address; write it like {GATEWAY}", param_hint="--gateway")
    feed = read_feed(path, seller, by_folder)
    state = _opened(state_file or state_path(Settings().home, gateway))
    started = time.monotonic()
    errors = Screen(stderr=True)
    tell_left_out(errors, feed)
    try:
        ended = asyncio.run(_with_progress(feed.uploads, gateway, state, concurrency, errors))
    except KeyboardInterrupt:
        raise click.ClickException("stopped; run the same command again to go on") from None
    finally:
        state.close()
    say(f"{summary(ended, feed)} in {time.monotonic() - started:.1f} s")
    if feed.bad or any(one.error for one in ended):
        raise SystemExit(1)


def _is_address(gateway: str) -> bool:
    try:
        url = httpx.URL(gateway)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _opened(path: Path) -> State:
    try:
        return State.open(path)
    except OSError as why:
        raise click.ClickException(plain(f"cannot keep the state in {path}: {why.strerror}")) from why


async def _with_progress(
    uploads: Sequence[ListingUpload], gateway: str, state: State, concurrency: int, errors: Screen
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
        failures = Failures(errors)

        def ended(one: Imported) -> None:
            failures.show(one)
            progress.update(bar, advance=1, failed=failures.count)

        return await import_listings(uploads, gateway, ended, state=state, concurrency=concurrency)
