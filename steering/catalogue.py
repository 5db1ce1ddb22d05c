"""Titles polled from fill, manifests fetched from the origin; both kept on disk, so that neither
of them has to be alive when a viewer presses play."""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import aiofiles
import aiohttp

from steering import dash, hls
from steering.pathways import ManifestError
from steering.titles import MANIFEST_SUFFIXES, TitleTable, empty, manifest_name, table_of
from wire.catalogue import Title, TitleIndex
from wire.codec import decode
from wire.durable import write_durably
from wire.errors import NotFoundError, OcaError, UnavailableError, WireError
from wire.log import get

# Three hours in segments of 2 s, each listed in each of 20 Representations, is 3.5 MB; every answer
# is written anew, so a larger one would cost tens of milliseconds each.
MANIFEST_BYTES_MAX = 4 * 1024 * 1024
READ_MANIFESTS_MAX = 2_000  # manifests kept as read, ~100 kB each
PREFETCH_AGAIN_S = 3.0  # after a failure that may pass; longer than FAILED_AGAIN_S
FAILED_AGAIN_S = 2.0  # so that a thousand viewers of one title do not ask a dead origin each
_log = get("catalogue")

Manifest = hls.Multivariant | dash.Manifest
ManifestUrl = Callable[[int, str], str]
"""(manifest asset, file) → the signed URL at the origin; raises UnavailableError without one."""


class Manifests:
    """The origin's manifests by (asset, file): in memory as read, on disk as they came."""

    def __init__(
        self, folder: Path, session: aiohttp.ClientSession, url_of: ManifestUrl, fetches: int
    ) -> None:
        """`fetches` at once at most."""
        self._folder, self._session, self._url_of = folder, session, url_of
        self._slots = asyncio.Semaphore(fetches)
        self._read: OrderedDict[tuple[str, int, str], Manifest] = OrderedDict()
        self._flights: dict[tuple[str, int, str], asyncio.Task[Manifest]] = {}
        self._failed: dict[tuple[str, int, str], tuple[float, BaseException]] = {}
        self.epoch = ""

    async def get(self, title: Title, suffix: str) -> Manifest:
        """The top manifest of a title; raises NotFoundError, UnavailableError, ManifestError."""
        name = manifest_name(title, suffix)
        if title.manifest is None:
            raise NotFoundError(f"the title {title.id!r} has no manifest")
        key = (self.epoch, title.manifest, name)
        found = self._read.get(key)
        if found is not None:
            self._read.move_to_end(key)
            return found
        flight = self._flights.get(key)
        if flight is None:
            self._check_failed(key)
            flight = asyncio.create_task(self._load(key))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    async def prefetch(self, titles: TitleTable) -> None:
        """Get every manifest of a catalogue that is not on disk yet, as soon as the origin gives
        them; drop other epochs' files."""
        self.epoch = titles.epoch
        await asyncio.to_thread(self._prune)
        wanted = [
            (title, suffix)
            for title in titles.by_title.values()
            for suffix in MANIFEST_SUFFIXES
            if any(name.endswith(suffix) for name in title.manifests)
        ]
        while wanted:
            one = wanted.pop()
            if not await self._prefetch(*one):
                # The origin is away: one question now and then, not one for each title. Or it lacks
                # this one: then all others come first.
                wanted.insert(0, one)
                await asyncio.sleep(PREFETCH_AGAIN_S)

    async def _prefetch(self, title: Title, suffix: str) -> bool:
        """Whether there is nothing more to do for this one; False: ask the origin again."""
        try:
            name = manifest_name(title, suffix)
            if not self._path((self.epoch, title.manifest or 0, name)).exists():
                await self.get(title, suffix)
        except OcaError as exc:
            _log.warning("manifest not fetched", title=title.id, suffix=suffix, why=str(exc))
            return not isinstance(exc, UnavailableError)
        return True

    async def _load(self, key: tuple[str, int, str]) -> Manifest:
        path = self._path(key)
        held = await _read_file(path)
        if held is not None:
            return await asyncio.to_thread(read_manifest, held, key[2])
        async with self._slots:
            raw = await self._fetch(key[1], key[2])
        manifest = await asyncio.to_thread(read_manifest, raw, key[2])
        await asyncio.to_thread(_keep_file, path, raw)
        return manifest

    async def _fetch(self, asset: int, name: str) -> bytes:
        try:
            async with self._session.get(self._url_of(asset, name)) as answer:
                if answer.status != 200:
                    raise UnavailableError(f"the origin answered {answer.status} for {name}")
                raw = await answer.content.read(MANIFEST_BYTES_MAX + 1)
                while not answer.content.at_eof() and len(raw) <= MANIFEST_BYTES_MAX:
                    raw += await answer.content.read(MANIFEST_BYTES_MAX + 1 - len(raw))
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise UnavailableError(f"the origin cannot be reached for {name}") from exc
        if len(raw) > MANIFEST_BYTES_MAX:
            raise ManifestError(f"{name} has more than {MANIFEST_BYTES_MAX} bytes")
        return raw

    def _check_failed(self, key: tuple[str, int, str]) -> None:
        failed_s, why = self._failed.get(key, (-FAILED_AGAIN_S, None))
        if asyncio.get_running_loop().time() < failed_s + FAILED_AGAIN_S:
            if isinstance(why, ManifestError):
                raise ManifestError(str(why))  # what is wrong with it is what there is to say
            raise UnavailableError("the origin did not give this title's manifest just now")

    def _landed(self, key: tuple[str, int, str], done: asyncio.Task[Manifest]) -> None:
        self._flights.pop(key, None)
        if done.cancelled():
            return
        why = done.exception()
        if why is not None:
            self._failed[key] = (asyncio.get_running_loop().time(), why)
            return
        self._failed.pop(key, None)
        self._read[key] = done.result()
        if len(self._read) > READ_MANIFESTS_MAX:
            self._read.popitem(last=False)

    def _path(self, key: tuple[str, int, str]) -> Path:
        epoch, asset, name = key
        return self._folder / epoch / f"{asset}-{name}"

    def _prune(self) -> None:
        for folder in self._folder.glob("*"):
            if folder.name != self.epoch:
                shutil.rmtree(folder, ignore_errors=True)


class CataloguePoller:
    """Keeps the index of titles as fresh as fill's, and the last good one on disk."""

    def __init__(
        self,
        file: Path,
        session: aiohttp.ClientSession,
        url: str,
        poll_s: float,
        take: Callable[[TitleTable], None],
        manifests: Manifests,
        proof: Callable[[], str],
    ) -> None:
        """`take` is called with every new table; `proof` is the Authorization for one request."""
        self._file, self._session, self._poll_s = file, session, poll_s
        self._url = url.rstrip("/") + "/v1/catalogue/titles"
        self._take, self._manifests, self._proof = take, manifests, proof
        self._etag = ""
        self._titles = empty()

    def load(self) -> None:
        """Begin with what is on disk, if it can be read."""
        try:
            self._accept(decode(TitleIndex, self._file.read_bytes(), str(self._file)))
        except FileNotFoundError:
            _log.info("no titles on disk yet")
        except (OSError, WireError) as exc:
            _log.warning("titles on disk are not used", why=str(exc))

    async def run(self) -> None:
        """Poll until cancelled; an answer that cannot be used leaves the last good one."""
        prefetch = asyncio.create_task(self._manifests.prefetch(self._titles))
        try:
            while True:
                if await self._poll():
                    prefetch.cancel()
                    prefetch = asyncio.create_task(self._manifests.prefetch(self._titles))
                await asyncio.sleep(self._poll_s)
        finally:
            prefetch.cancel()

    async def _poll(self) -> bool:
        """Ask once; whether there is a new catalogue."""
        try:
            headers = {"Authorization": self._proof()}
            if self._etag:
                headers["If-None-Match"] = self._etag
            async with self._session.get(self._url, headers=headers) as answer:
                if answer.status == 304:
                    return False
                if answer.status != 200:
                    raise UnavailableError(f"fill answered {answer.status}")
                raw, etag = await answer.read(), answer.headers.get("ETag", "")
            index = await asyncio.to_thread(decode, TitleIndex, raw, "catalogue")
        except (aiohttp.ClientError, TimeoutError, OSError, OcaError) as exc:
            _log.warning("catalogue not refreshed", why=str(exc) or type(exc).__name__)
            return False
        await asyncio.to_thread(_keep_file, self._file, raw)
        self._etag = etag
        return self._accept(index)

    def _accept(self, index: TitleIndex) -> bool:
        titles = table_of(index)
        if titles == self._titles:
            return False
        self._titles = titles
        self._manifests.epoch = titles.epoch
        self._take(titles)
        _log.info("catalogue", epoch=titles.epoch, titles=len(titles.by_title))
        return True


def read_manifest(raw: bytes, name: str) -> Manifest:
    """A manifest as the rewriters want it; raises ManifestError."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{name}: byte {exc.start} is not UTF-8") from exc
    try:
        return hls.read_multivariant(text) if name.endswith(".m3u8") else dash.read_mpd(text)
    except ManifestError as exc:
        raise ManifestError(f"{name}: {exc}") from exc


async def _read_file(path: Path) -> bytes | None:
    try:
        async with aiofiles.open(path, "rb") as file:
            return await file.read()
    except OSError:
        return None


def _keep_file(path: Path, raw: bytes) -> None:
    """Keep a copy for the next life. A disk that refuses does not stop this one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, raw)
    except OSError as exc:
        _log.error("no copy was kept", file=str(path), why=exc.strerror)
