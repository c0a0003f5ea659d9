"""What `vitrine run` shows: a table of listings, how many answers are right, what is similar, and where to ask."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.text import Text
from vitrine.events.v1 import enriched_pb2, image_pb2
from vitrine.recommendation.v1 import recommendation_pb2

from local.answers import decision, spelled
from local.catalogue import kind
from local.fleet import Plan
from local.following import Answer
from shared.screen import Rows, Screen
from shared.text import plain

SHOWN = 16
_COLOURS = {"allow": "green", "review": "yellow", "block": "red"}
# A table that is written to a file is not cut to a terminal's 80 columns.
_WIDTH_OF_NO_TERMINAL = 160


def console() -> Screen:
    """Standard output."""
    screen = Screen()
    return screen if screen.is_terminal else Screen(width=_WIDTH_OF_NO_TERMINAL)


def varied(answers: Sequence[Answer], count: int = SHOWN) -> list[Answer]:
    """The first of each category and fraud decision, then the second of each, …; in the catalogue's order."""
    seen: Counter[tuple[str, ...]] = Counter()
    ranked = []
    for place, answer in enumerate(answers):
        if answer.listing is None:
            continue
        sort = (decision(answer.listing.fraud), *answer.listing.category.path)
        ranked.append((seen[sort], place, answer))
        seen[sort] += 1
    chosen = sorted(ranked, key=lambda one: one[:2])[:count]
    return [answer for _, _, answer in sorted(chosen, key=lambda one: one[1])]


def listings_table(answers: Sequence[Answer]) -> Rows:
    """One row each: what is claimed, what was seen, and the fraud decision with its reason."""
    table = Rows("seller", "claims", "category", "attributes", "fraud", "reason", title="Some of the listings")
    for answer in answers:
        if (listing := answer.listing) is not None:
            table.add_row(
                listing.seller_id,
                listing.claims.title,
                category(listing.category),
                attributes(listing.attributes),
                coloured(listing.fraud),
                "; ".join(reason.explanation for reason in listing.fraud.reasons),
            )
    return table


def hits_table(title: str, hits: Sequence[recommendation_pb2.Hit]) -> Rows:
    """The nearest listings first."""
    table = Rows("similarity", "seller", "claims", "category", title=title)
    for hit in hits:
        listing = hit.listing
        row = (listing.seller_id, listing.claims.title, category(listing.category))
        table.add_row(f"{hit.similarity:.2f}", *row)
    return table


def category(seen: image_pb2.Category) -> Text:
    """garments > t-shirt 97 %, Watches (claimed) 65 %"""
    path = " > ".join(seen.path) or "unknown"
    path = path if not seen.path or seen.label else f"{path} > unknown"
    if seen.origin == image_pb2.Category.ORIGIN_CLAIMS:
        path = f"{' > '.join(seen.path) or seen.display_name or seen.taxonomy_id} (claimed)"
    return Text.assemble(plain(path), (f" {seen.confidence:.0%}", "dim"))


def attributes(seen: Iterable[image_pb2.Attribute]) -> str:
    """brand Oatly, colour white and blue"""
    values: dict[str, list[str]] = {}
    for one in seen:
        values.setdefault(one.name, []).append(spelled(one))
    return ", ".join(f"{name} {' and '.join(each)}" for name, each in values.items())


def coloured(fraud: image_pb2.Fraud) -> Text:
    said = decision(fraud)
    return Text(said or "none", style=_COLOURS.get(said, "dim"))


def score(answers: Sequence[Answer]) -> dict[str, tuple[int, int]]:
    """How many are right, of how many: for each kind of answer and each kind of listing whose truth is known.

    Categories are counted as a whole and by department, the first part of the right path.
    """
    right: Counter[str] = Counter()
    known: Counter[str] = Counter()
    for answer in answers:
        if answer.expected is None or (verdicts := answer.correct()) is None:
            continue
        fraud_of = f"fraud: {kind(answer.expected)}"
        department = f"category: {answer.expected.path[0]}"
        named = {fraud_of if name == "fraud" else name: verdict for name, verdict in verdicts.items()}
        if "category" in named:
            named[department] = named["category"]
        # Of a listing that was never joined every answer is wrong.
        for name in named or ("category", department, fraud_of):
            known[name] += 1
            right[name] += named.get(name, False)
    return {name: (right[name], known[name]) for name in sorted(known)}


def score_table(scores: Mapping[str, tuple[int, int]]) -> Rows:
    """The summary against the right answers, which are known where the photos were rendered."""
    table = Rows("answer", "right", "of", title="Against the known right answers")
    for name, (right, known) in scores.items():
        table.add_row(name, Text(str(right), style="green" if right == known else "yellow"), str(known))
    return table


def addresses(plan: Plan, kafka: str, redis: str) -> Iterator[str]:
    """Where to ask, a line each."""
    metrics = ", ".join(f"{name} {plan.ports.metrics_of(name)}" for name in plan.metrics)
    yield f"gateway   {plan.gateway_url}   (its API is described at {plan.gateway_url}/openapi.json)"
    yield f"lookups   {plan.recommendation}   (gRPC, with reflection)"
    yield f"metrics   http://127.0.0.1:PORT/metrics   {metrics}"
    yield f"servers   Kafka {kafka}, Redis {redis}"
    yield f"logs      {plan.logs}"


def memory_line(memory: Mapping[str, int]) -> str:
    """Resident MiB of each process, and the sum."""
    each = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in memory.items())
    return f"memory    {sum(memory.values()) / 2**20:.0f} MiB in all: {each}"


def first_allowed(answers: Sequence[Answer]) -> enriched_pb2.EnrichedListing | None:
    """A listing that lookups show, to ask for what is similar to it."""
    allowed = (one.listing for one in answers if one.listing and decision(one.listing.fraud) == "allow")
    return next(allowed, None)
