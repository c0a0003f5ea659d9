"""What each process of the fleet holds: `python -m bench.memory`. The limits in k8s/base rest on what this prints.

Two fleets are started, one with nothing converted yet. Both are sent ordinary photos, then the largest that the gateway
takes, several at once: drawn here, of kinds that have to be decoded whole.
"""

import asyncio
import io
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import httpx
from PIL import Image
from pillow_heif import register_heif_opener
from rich.console import Console
from rich.table import Table

from local.fleet import Fleet, Plan, Ports, running
from local.servers import kafka_jars
from services.gateway.settings import GatewaySettings
from shared.settings import Settings
from studio import demo_catalogue

IDLE_SECONDS = 20.0
SETTLED_SECONDS = 600.0
THREADS_EACH = 2
Columns = dict[str, dict[str, int]]  # by process and column, MiB


def largest() -> list[bytes]:
    """One of each kind, of as many pixels as the gateway takes."""
    register_heif_opener()
    side = int(GatewaySettings().max_photo_pixels ** 0.5) // 16 * 16  # whole blocks: a HEIF is filled up to them
    shown = (Image.new("RGBA", (side, side), (200, 90, 40, 200)), Image.new("RGB", (side, side), (40, 90, 200)))
    return [
        encoded(shown[0], "PNG"),
        encoded(shown[1], "PNG"),
        encoded(shown[0], "WEBP", lossless=True),
        encoded(shown[1], "JPEG", progressive=True),
        encoded(shown[0], "HEIF", enc_params={"preset": "ultrafast"}),
        encoded(shown[0], "AVIF", speed=10),
    ]


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    body = io.BytesIO()
    picture.save(body, kind, **options)
    return body.getvalue()


async def upload(fleet: Fleet, photos: Iterable[bytes], at_once: int, name: str) -> None:
    turn = asyncio.Semaphore(at_once)
    claims = '{"seller_id": "%s-%d", "title": "measured"}'

    async def one(client: httpx.AsyncClient, number: int, photo: bytes) -> None:
        listing = (None, (claims % (name, number)).encode(), "application/json")
        parts: Any = [("listing", listing), ("photos", ("photo", photo))]
        async with turn:
            answer = await client.post(f"{fleet.plan.gateway_url}/v1/listings", files=parts)
            if answer.status_code not in (202, 503):  # 503: no memory for more bodies now
                raise click.ClickException(f"the gateway refused a photo: {answer.text}")

    async with httpx.AsyncClient(timeout=120) as client:
        await asyncio.gather(*(one(client, number, photo) for number, photo in enumerate(photos)))


async def settled(fleet: Fleet) -> None:
    """Until every group has committed all there is, as the lag exporter sees it."""
    url = f"http://127.0.0.1:{fleet.plan.ports.lag_metrics}/metrics"
    async with asyncio.timeout(SETTLED_SECONDS), httpx.AsyncClient() as client:
        quiet = 0
        while quiet < 2:
            await asyncio.sleep(10)
            lines = (await client.get(url)).text.splitlines()
            lags = [float(line.split()[-1]) for line in lines if line.startswith("vitrine_group_lag_records{")]
            quiet = quiet + 1 if lags and not any(lags) else 0


def read(fleet: Fleet, names: Sequence[str], field: str) -> Mapping[str, int]:
    """A field of /proc/PID/status, in MiB: VmRSS now, VmHWM at most since the start. With those that decode for it."""
    return {name: sum(held(pid, field) for pid in family(fleet.supervisor.pid_of(name))) for name in names}


def family(pid: int | None) -> list[int]:
    """A process and its children."""
    children = [child for tasks in Path(f"/proc/{pid}/task").glob("*/children") for child in tasks.read_text().split()]
    return [int(one) for one in (pid, *children) if one is not None]


def held(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith(field))


async def measured(home: Path, photos: Sequence[bytes], large: Sequence[bytes]) -> Columns:
    plan = Plan(home, ports=Ports.free(), cores=THREADS_EACH * 4)
    columns: Columns = {}
    async with running(plan) as fleet:
        names = ("gateway", *plan.workers, "join", "serve", "lag")
        await asyncio.sleep(IDLE_SECONDS)
        columns["idle"] = dict(read(fleet, names, "VmRSS"))
        columns["at start"] = dict(read(fleet, names, "VmHWM"))
        await upload(fleet, photos, 8, "ordinary")
        await settled(fleet)
        columns["ordinary"] = dict(read(fleet, names, "VmHWM"))
        await upload(fleet, large, 8, "large")
        await settled(fleet)
        columns["largest"] = dict(read(fleet, names, "VmHWM"))
    return columns


def show(title: str, columns: Columns) -> None:
    table = Table(title=title)
    for head in ("MiB", *columns):
        table.add_column(head, justify="left" if head == "MiB" else "right")
    for name in columns["idle"]:
        table.add_row(name, *(str(column[name]) for column in columns.values()))
    Console().print(table)


@click.command()
@click.option("--photos", default=200, show_default=True, help="Ordinary photos, rendered.")
def main(photos: int) -> None:
    """Print what each process holds when idle, at most while it starts, and at most while it is sent photos."""
    os.environ["VITRINE_REMEMBERED_PHOTOS"] = "0"  # the largest photos come again and again
    fetched = Settings().home.resolve()
    ordinary = [photo for listing in demo_catalogue(seed=7, listings=photos) for photo in listing.photos][:photos]
    large = largest() * 4
    kafka = kafka_jars(fetched).parent.name
    for title, shared in (("everything converted", (kafka, "cache")), ("nothing converted", (kafka,))):
        with tempfile.TemporaryDirectory() as folder:
            for name in shared:
                (Path(folder) / name).symlink_to(fetched / name)
            show(title, asyncio.run(measured(Path(folder), ordinary, large)))


if __name__ == "__main__":
    main()
