"""`vitrine run`: the whole fleet on this machine, a catalogue through it, and the answers on the screen."""

import asyncio
import os
from pathlib import Path

import click

from cli.plain import Command
from local import catalogue as catalogues
from local import showing
from local.fleet import Plan, Ports
from local.run import run_fleet, stopping_on_sigterm
from shared.settings import Settings
from shared.vision.pack import open_pack

INTERRUPTED = 130


@click.command(cls=Command)
@click.option(
    "--photos",
    envvar="PHOTOS",
    type=click.Path(exists=True, path_type=Path),
    help="A folder of photos or a CSV of your own (see `vitrine import`) [default: a catalogue rendered here].",
)
@click.option("--listings", default=catalogues.DEMO_LISTINGS, show_default=True, type=click.IntRange(1, 2000))
@click.option("--fused", is_flag=True, help="One worker process for all four tasks: less memory.")
@click.option("--free-ports", is_flag=True, help="Listen on any free ports instead of the documented ones.")
@click.option(
    "--once", is_flag=True, help="Stop when all is answered; status 0 only if every photo has its four facets."
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the answers as JSON to this file."
)
def run(photos: Path | None, listings: int, fused: bool, free_ports: bool, once: bool, report: Path | None) -> None:
    """Run the whole fleet on this machine and send a catalogue through it.

    Starts Kafka and Redis (unless VITRINE_KAFKA or VITRINE_REDIS name servers that run already) and every service. Data
    stay in VITRINE_HOME/data, so the next run finds them. Ctrl-C ends every process.
    """
    if report and not report.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {report.absolute().parent}", param_hint="--report")
    settings = Settings()
    plan = Plan(
        home=settings.home,
        pack=settings.pack,
        ports=Ports.free() if free_ports else Ports(),
        kafka=os.environ.get("VITRINE_KAFKA"),
        redis=os.environ.get("VITRINE_REDIS"),
        photo_store=os.environ.get("VITRINE_PHOTO_STORE"),
        fused=fused,
    )
    # Before anything is started: a broken pack would only show as workers that die.
    pack = open_pack(settings.pack)
    catalogue = catalogues.own(photos) if photos else catalogues.demo(pack.taxonomy.leaves, listings)
    console = showing.console()
    try:
        sound = asyncio.run(stopping_on_sigterm(run_fleet(plan, pack, catalogue, console, once, report)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped; the next run finds its data again")
        raise SystemExit(INTERRUPTED if once else 0) from None
    raise SystemExit(0 if sound else 1)
