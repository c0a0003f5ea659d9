"""Where photos lie: a folder, or a bucket of anything that speaks S3. obstore does the work.

A photo's key is the sha256 of its bytes, so the same bytes are stored once however often they arrive, and nothing that
is stored ever changes, unless it was damaged. What is written into a folder is on disk before anybody is told so.
"""

import asyncio
import errno
import hashlib
import os
import re
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import LocalStore, S3Store

from shared.errors import Transient, Unusable
from shared.files import create_file, replace_file, sweep_half_files

T = TypeVar("T")

_FULL = (errno.ENOSPC, errno.EDQUOT)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class MissingObject(Exception):
    """The store answered, and has no such object."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the photo store has no {key}")
        self.key = key


class StoreFull(Transient):
    """There is no room for what was to be stored. It works again once there is."""


def photo_key(sha256_hex: str) -> str:
    """Where a photo lies. Two letters of fan-out keep a folder's directories small. Raises ValueError."""
    if not _SHA256.fullmatch(sha256_hex):
        raise ValueError(f"not a sha256 in lower-case hex: {sha256_hex!r}")
    return f"photos/{sha256_hex[:2]}/{sha256_hex}"


class PhotoStore:
    """Objects by key. Safe to share between tasks; opens its connections when it is first asked.

    Every method raises Transient when the store stays away through its retries (StoreFull when a folder's disk is
    full), and ValueError for a key that is no path below the store's root. Refused credentials are raised as
    obstore.exceptions.BaseError: retrying won't heal them.
    """

    def __init__(self, store: LocalStore | S3Store, address: str, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
        self.address = address

    async def put(self, body: bytes) -> str:
        """Store a photo under the sha256 of its bytes; returns its key. Storing it twice is storing it once.

        What lies there with another size is a damaged copy, and is written anew.
        """
        key = photo_key(await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest()))
        if not await self.create(key, body) and await self._size(key) != len(body):
            await self.replace(key, body)
        return key

    async def get(self, key: str) -> bytes:
        """The object's bytes. Raises MissingObject."""

        async def read() -> bytes:
            result = await self._store.get_async(key)
            return bytes(await result.bytes_async())

        return await self._named(key, read())

    async def create(self, key: str, body: bytes) -> bool:
        """Store `body` unless the key is taken; of several at once exactly one gets True.

        False may also be the answer to one's own write: the first try arrived, its answer was lost, and the retry
        found the key taken. Who needs to know reads the object.
        """
        try:
            await self._named(key, self._create(key, body))
        except (AlreadyExistsError, FileExistsError):
            return False
        return True

    async def _create(self, key: str, body: bytes) -> None:
        if self._folder is None:
            await self._store.put_async(key, body, mode="create")
        else:
            await asyncio.to_thread(create_file, self._folder, key, body)

    async def replace(self, key: str, body: bytes) -> None:
        """Store `body` whatever lies there. Who reads it meanwhile gets the one or the other, whole."""
        await self._named(key, self._replace(key, body))

    async def _replace(self, key: str, body: bytes) -> None:
        if self._folder is None:
            await self._store.put_async(key, body)
        else:
            await asyncio.to_thread(replace_file, self._folder, key, body)

    async def keys(self, folder: str) -> list[str]:
        """Those below folder/, in order; none where there is no such folder.

        Refused credentials are Transient here: obstore doesn't tell them apart.
        """

        async def read() -> list[str]:
            return sorted([found["path"] async for some in self._store.list_async(folder) for found in some])

        return await self._named(folder, read())

    async def _size(self, key: str) -> int:
        return (await self._named(key, self._store.head_async(key)))["size"]

    async def exists(self, key: str) -> bool:
        try:
            await self._named(key, self._store.head_async(key))
        except MissingObject:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Deleting what isn't there is no error. After a power loss it may be there again."""
        try:
            await self._named(key, self._store.delete_async(key))
        except MissingObject:  # a folder says so, S3 does not
            return

    async def sweep(self) -> int:
        """Delete what killed processes left half-written in a folder; returns how many. A bucket keeps none."""
        return 0 if self._folder is None else await asyncio.to_thread(sweep_half_files, self._folder)

    async def check(self) -> None:
        """Have the store take something small, or say that it has it: whoever passes can upload.

        A folder's disk must have room for it each time. Raises Transient when the store is away or full, MissingObject
        for a bucket that doesn't exist and isn't made by writing to it.
        """
        await self.create("check", b"ok")

    async def _named(self, key: str, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except FileNotFoundError as why:
            raise MissingObject(key) from why
        except FileExistsError:
            raise
        except (GenericError, OSError, TimeoutError) as why:
            if isinstance(why, OSError) and why.errno in _FULL:
                raise StoreFull(f"the photo store {self.address} is full: {_first_line(why)}") from why
            raise Transient(f"the photo store {self.address} did not answer: {_first_line(why)}") from why


def open_photo_store(address: str, environ: Mapping[str, str] = os.environ) -> PhotoStore:
    """From a folder's path (made if absent) or s3://bucket/prefix.

    For S3 the usual variables apply: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for a
    store that isn't Amazon's, which is then addressed path-style. Raises Unusable for another kind of address.
    """
    if address.startswith("s3://"):
        return PhotoStore(_open_bucket(address, environ), address)
    if "://" in address:
        raise Unusable(f"VITRINE_PHOTO_STORE is {address}: name a folder, or s3://bucket/prefix")
    folder = Path(address).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return PhotoStore(LocalStore(folder), address, folder)


def _open_bucket(address: str, environ: Mapping[str, str]) -> S3Store:
    endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), None)
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not bucket:
        raise Unusable(f"VITRINE_PHOTO_STORE is {address}, without a bucket: write s3://bucket/prefix")
    return S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        config={"endpoint": endpoint} if endpoint else {},
        client_options={
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=3),
            "timeout": timedelta(seconds=20),
        },
        # Answers of 5xx, dropped and refused connections; a worker's stage or a seller waits at most this long.
        retry_config={
            "max_retries": 5,
            "retry_timeout": timedelta(seconds=30),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=3), "base": 2},
        },
    )


def _first_line(why: BaseException) -> str:
    return str(why).strip().partition("\n")[0] or type(why).__name__
