"""One embedded fleet for all fleet tests, with a home of its own. It lives in the session's event loop."""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from client.listing import Imported
from local import following
from local.answers import RecommendationClient
from local.answers import Schema as Pack
from local.catalogue import Catalogue, Offer, as_upload
from local.fleet import Fleet, Plan, Ports, running
from local.following import Answer
from local.servers import kafka_jars
from local.supervisor import Restarts
from studio.demo import demo_catalogue
from tests.conftest import home

PROJECT = Path(__file__).parent.parent.parent


def linked_home(folder: Path) -> Path:
    """A home that shares what `make setup` fetched, and nothing else."""
    for name in (kafka_jars(home()).parent.name, "cache"):
        (folder / name).symlink_to(home() / name)
    return folder


@dataclass
class RunningFleet:
    """A running fleet and everything that was ever uploaded to it."""

    fleet: Fleet
    lookups: RecommendationClient
    pack: Pack
    uploads: list[Imported] = field(default_factory=list)

    async def send(self, name: str, offers: Iterator[Offer], size: int, progress: following.Progress) -> list[Answer]:
        """The answers, once they have settled."""
        catalogue = Catalogue(Path(name), size, offers)
        answers = await following.send(self.fleet, catalogue, self.lookups, progress)
        self.uploads += [answer.imported for answer in answers]
        return answers


@asynccontextmanager
async def run(
    home: Path, *, fused: bool, kafka: str | None = None, restarts: Restarts | None = None
) -> AsyncIterator[RunningFleet]:
    """A fleet with a home of its own, on free ports; its own Kafka too, unless another is named."""
    from shared.vision.pack import open_pack

    plan = Plan(linked_home(home), ports=Ports.free(), kafka=kafka, fused=fused)
    async with running(plan, restarts=restarts) as fleet, RecommendationClient(plan.recommendation) as lookups:
        yield RunningFleet(fleet, lookups, open_pack(plan.pack))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tested(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningFleet]:
    """The fleet, split into its services."""
    async with run(tmp_path_factory.mktemp("fleet"), fused=False) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def eight() -> Sequence[Offer]:
    """Listings of one seller, so that the same photos may be sent again and again: one's own are no copies."""
    honest = (listing for listing in demo_catalogue(seed=99, listings=40) if not listing.expected.reason)
    return [Offer(replace(as_upload(one), seller_id="drills")) for one in itertools.islice(honest, 8)]
