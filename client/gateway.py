"""Vitrine's gateway, as an import speaks to it: what does it hold, and here is a listing."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from client.listing import ListingUpload
from shared.errors import Transient

GATEWAY = "http://127.0.0.1:8080"
NEVER_THROUGH_A_PROXY = ("all://127.0.0.1", "all://localhost")
# The gateway is away or overloaded, and says or implies "again later". Anything else but 429 is its last word.
TRY_AGAIN = {502, 503, 504}
SLOWER = 429
LOOKUPS_AWAY = "urn:vitrine:problem:lookup-unavailable"


class GatewayAway(Transient):
    """Through all retries."""


class UploadRefused(Exception):
    """The gateway's last word on one listing."""


@dataclass(frozen=True, slots=True)
class Retries:
    """Waits double from the first to the longest, with jitter. The default bears with a gateway for about a minute.

    A gateway that asks to be sent less is there, and is waited for as long as it says, for `patience` seconds in all.
    """

    attempts: int = 16
    first_wait: float = 0.25
    longest_wait: float = 5.0
    patience: float = 600.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def wait(self, attempt: int) -> float:
        """Seconds between this attempt, counted from 1, and the next."""
        return min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 60)) * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo's bytes on their way; the type is only what its name says, and the gateway looks at the bytes."""

    name: str
    body: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Held:
    """A listing as the gateway knows it."""

    there: bool | None  # None: nobody could tell, since the lookups are away
    revision: int | None = None  # None: accepted, and not joined yet
    claims: Mapping[str, Any] = field(default_factory=dict)
    photos: tuple[str, ...] = ()  # sha256 of each, in order


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gateway's yes."""

    listing_id: str
    revision: int
    photos: tuple[str, ...]


class Gateway:
    """Everything raises GatewayAway when it stays away through all retries."""

    def __init__(self, url: str, connections: int, retries: Retries) -> None:
        self.url = url
        self._retries = retries
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(60.0, connect=5.0),
            limits=httpx.Limits(max_connections=connections),
            mounts=dict.fromkeys(NEVER_THROUGH_A_PROXY),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def listing_id(self, upload: ListingUpload) -> str:
        """What it is called, or will be. Raises UploadRefused."""
        asked = {"seller_id": upload.seller_id, "key": upload.key}
        answer = await self._request("GET", "/v1/listing-id", params=asked)
        if not answer.is_success:
            raise UploadRefused(_problem(answer))
        if not isinstance(listing_id := _json_object(answer).get("listing_id"), str):
            raise UploadRefused(f"the answer names no listing; is {answer.url} Vitrine's gateway?")
        return listing_id

    async def held(self, listing_id: str) -> Held:
        answer = await self._request("GET", f"/v1/listings/{listing_id}")
        if answer.status_code == 404:
            return Held(False)
        listing = _json_object(answer)
        try:
            photos = tuple(str(photo["photo"]["sha256"]) for photo in listing.get("photos", []))
            return Held(answer.is_success or None, listing.get("revision"), listing.get("claims") or {}, photos)
        except (KeyError, TypeError):  # another version's words
            return Held(answer.is_success or None)

    async def put(self, listing_id: str, upload: ListingUpload, photos: Sequence[PhotoFile], key: str) -> Accepted:
        """State the listing as it is now: a new one, or a new revision. Raises UploadRefused.

        `key` makes its retries one.
        """
        listing = json.dumps(upload.as_json()).encode()
        files = [("listing", ("listing.json", listing, "application/json"))]
        # File names are sent as numbers: as they are, they may be no text at all.
        files += [("photos", (str(at), photo.body, photo.media_type)) for at, photo in enumerate(photos)]
        headers = {"Idempotency-Key": key}
        answer = await self._request("PUT", f"/v1/listings/{listing_id}", files=files, headers=headers)
        if not answer.is_success:
            raise UploadRefused(_why_refused(answer, photos))
        accepted = _json_object(answer)
        try:
            hashes = tuple(str(photo["sha256"]) for photo in accepted["photos"])
            return Accepted(str(accepted["listing_id"]), int(accepted["revision"]), hashes)
        except (KeyError, TypeError, ValueError) as why:
            raise UploadRefused(f"the answer names no listing; is {answer.url} Vitrine's gateway?") from why

    async def _request(self, method: str, path: str, **sent: Any) -> httpx.Response:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._retries.attempts),
            wait=self._wait,
            retry=retry_if_exception_type(_AgainLater),
            sleep=self._retries.sleep,
            reraise=True,
        )
        try:
            return await retrying(self._once, method, path, **sent)
        except _AgainLater as why:
            raise GatewayAway(str(why)) from why

    async def _once(self, method: str, path: str, **sent: Any) -> httpx.Response:
        waited, asked = 0.0, 0
        while (answer := await self._sent(method, path, **sent)).status_code == SLOWER:
            asked += 1
            seconds = max(_retry_after(answer), self._retries.wait(asked))
            if waited + seconds > self._retries.patience:
                raise GatewayAway(f"the gateway at {self.url} asks for less, again and again: {_problem(answer)}")
            await self._retries.sleep(seconds)
            waited += seconds
        if answer.status_code in TRY_AGAIN and _json_object(answer).get("type") != LOOKUPS_AWAY:
            raise _AgainLater(f"the gateway at {self.url} is not ready: {_problem(answer)}", _retry_after(answer))
        return answer

    async def _sent(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            return await self._client.request(method, path, **sent)
        except httpx.RequestError as why:
            said = f"no gateway answers at {self.url} ({type(why).__name__}): start it, or give --gateway"
            raise _AgainLater(said) from why

    def _wait(self, state: RetryCallState) -> float:
        failed = state.outcome.exception() if state.outcome else None
        at_least = failed.seconds if isinstance(failed, _AgainLater) else 0.0
        return max(min(at_least, self._retries.longest_wait), self._retries.wait(state.attempt_number))


class _AgainLater(Exception):
    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


def _why_refused(answer: httpx.Response, photos: Sequence[PhotoFile]) -> str:
    """Names the photo that is to blame, by its own name."""
    if answer.status_code == 410:
        return f"{_problem(answer)}; offered anew it needs another reference"
    where = _json_object(answer).get("where")
    index = where.get("index") if isinstance(where, dict) and where.get("part") == "photos" else None
    blamed = f"{photos[index].name}: " if isinstance(index, int) and index < len(photos) else ""
    return f"{blamed}{_problem(answer)}"


def _problem(answer: httpx.Response) -> str:
    """One line of an RFC 9457 problem, or of whatever came instead."""
    problem = _json_object(answer)
    said = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return f"{': '.join(said) or answer.reason_phrase or 'no reason given'} (HTTP {answer.status_code})"


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    """{} when it is none."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _retry_after(answer: httpx.Response) -> float:
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() and said.isascii() else 0.0
