"""A scripted viewer: real time, follows steering, survives dead boxes, checks every byte."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from deploy.demo.hls import (
    MediaPlaylist,
    Multivariant,
    PlaylistError,
    read_media,
    read_multivariant,
)
from deploy.demo.httpclient import Answer, Client, FetchError
from deploy.demo.playback import BufferClock, Pathways, Stall
from deploy.demo.truth import Truth
from wire.codec import decode
from wire.errors import WireError
from wire.pathways import SteeringManifest

T = TypeVar("T")
BUFFER_MAX_S = 10.0
INIT = -1
"""The index of a file that is no segment: an init segment or a playlist."""
RETRY_PAUSE_S = 0.05
RETRY_STEERING_S = 1.0
STEERING_TTL_MIN_S = 0.5
GIVE_UP_S = 30.0
"""A viewer who has waited that long for one file has gone away."""


@dataclass(frozen=True, slots=True)
class Got:
    """One file received whole and right; `index` is the segment's place, -1 for other files."""

    kind: str
    index: int
    pathway: str
    host: str
    size_bytes: int
    started_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """One request that failed; `got_bytes` of `want_bytes` had arrived."""

    pathway: str
    host: str
    reason: str
    at_s: float
    got_bytes: int
    want_bytes: int


@dataclass(slots=True)
class Diary:
    """What happened to one viewer. Times are seconds since playback was asked for."""

    title: str
    client: str
    got: list[Got] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    steering_asked: int = 0
    played_s: float = 0.0
    ended: bool = False
    gave_up: str = ""

    def segments_by(self, since_s: float = 0.0) -> Counter[str]:
        """Video segments by serving host, of those that were complete after `since_s`."""
        return Counter(
            one.host
            for one in self.got
            if one.kind == "video" and one.index >= 0 and one.ended_s >= since_s
        )


@dataclass(slots=True)
class InFlight:
    """What a viewer is receiving right now."""

    kind: str
    host: str
    got_bytes: int
    want_bytes: int


Watcher = Callable[["Player", InFlight], None]


class Player:
    """One viewer of one film; create it, then `await play()`; the diary fills as it goes on."""

    def __init__(
        self,
        title: str,
        steering_base: str,
        client: Client,
        truth: Truth,
        watcher: Watcher | None = None,
    ) -> None:
        """`steering_base` is a URL without a slash at its end; `watcher` sees every arrival."""
        self.title, self.client, self.truth = title, client, truth
        self.diary = Diary(title, client.address)
        self.clock = BufferClock(BUFFER_MAX_S)
        self._base, self._watcher = steering_base, watcher
        # Apart, so that a steering that does not answer never holds up the film.
        self._steering_client = Client(client.address, client.patience_s)
        self._t0_s = time.monotonic()
        self._playlists: dict[str, MediaPlaylist] = {}
        self._throughput_bps = 0

    def now_s(self) -> float:
        """Seconds since this player was made."""
        return time.monotonic() - self._t0_s

    @property
    def stalls(self) -> list[Stall]:
        """Every stall so far, the one that goes on included."""
        now_s = self.now_s()
        open_s = self.clock.stalled_for_s(now_s)
        going_on = [Stall(self.clock.position_s(now_s), now_s - open_s, open_s)] if open_s else []
        return [*self.clock.stalls, *going_on]

    async def play(self, until_s: float = float("inf")) -> Diary:
        """Play the film, or its first `until_s` seconds; returns when the last is in the buffer."""
        steering: asyncio.Task[None] | None = None
        try:
            self._manifest = await self._open()
            self._pathways = Pathways(self._manifest.pathways())
            if self._manifest.first_pathway:
                self._pathways.steer([self._manifest.first_pathway])
            if self._manifest.steering_url:
                steering = asyncio.create_task(self._follow_steering(self._manifest.steering_url))
            await self._play_segments(until_s)
            self.diary.ended = True
        except (FetchError, PlaylistError) as exc:
            self.diary.gave_up = str(exc)
        finally:
            if steering is not None:
                steering.cancel()
                await asyncio.gather(steering, return_exceptions=True)
            self.client.close()
            self._steering_client.close()
        return self.diary

    async def _open(self) -> Multivariant:
        url = f"{self._base}/v1/play/{self.title}.m3u8"
        answer = await self._steering_client.get(url)
        if answer.status != 200:
            raise PlaylistError(f"{url}: status {answer.status}")
        return read_multivariant(answer.body.decode(), url)

    async def _play_segments(self, until_s: float) -> None:
        segments = (await self._with_failover("video", self._playlist)).segments
        at_s = 0.0
        for index, segment in enumerate(segments):
            if at_s >= until_s:
                break
            await asyncio.sleep(self.clock.wait_s(segment.duration_s, self.now_s()))
            for kind in ("audio", "video"):
                if index == 0:
                    await self._fetch(kind, INIT)
                await self._fetch(kind, index)
            self.clock.append(segment.duration_s, self.now_s())
            at_s += segment.duration_s
            self.diary.played_s = at_s

    async def _fetch(self, kind: str, index: int) -> None:
        """One file of the film into the buffer, from whoever has it, whole and right."""

        async def attempt(kind: str, pathway: str) -> Answer:
            playlist = await self._playlist(kind, pathway)
            uri = playlist.init_uri if index == INIT else playlist.segments[index].uri
            return await self._get(kind, index, pathway, urljoin(self._url(kind, pathway), uri))

        await self._with_failover(kind, attempt)

    async def _with_failover(self, kind: str, attempt: Callable[[str, str], Awaitable[T]]) -> T:
        """Do `attempt(kind, pathway)` on one pathway after the other until it succeeds."""
        since_s = self.now_s()
        while True:
            pathway = self._pathways.choose(self.now_s())
            try:
                return await attempt(kind, pathway)
            except FetchError as exc:
                now_s = self.now_s()
                self.diary.failed.append(
                    Failed(pathway, exc.host, exc.reason, now_s, exc.got_bytes, exc.want_bytes)
                )
                self._pathways.penalise(pathway, now_s)
                if now_s - since_s > GIVE_UP_S:
                    raise
                await asyncio.sleep(RETRY_PAUSE_S)

    def _url(self, kind: str, pathway: str) -> str:
        """The media playlist of this pathway's best variant, or of its sound."""
        variant = self._manifest.best_on(pathway)
        url = variant and (variant.audio_url if kind == "audio" else variant.url)
        if not url:
            raise PlaylistError(f"pathway {pathway} has no {kind}")
        return url

    async def _playlist(self, kind: str, pathway: str) -> MediaPlaylist:
        url = self._url(kind, pathway)
        if url not in self._playlists:
            answer = await self._get("playlist", INIT, pathway, url)
            self._playlists[url] = read_media(answer.body.decode(), url)
        return self._playlists[url]

    async def _get(self, kind: str, index: int, pathway: str, url: str) -> Answer:
        """Fetch one file of an asset; raises FetchError unless it is there and right."""

        def on_bytes(host: str, got_bytes: int, want_bytes: int) -> None:
            if self._watcher is not None:
                self._watcher(self, InFlight(kind, host, got_bytes, want_bytes))

        started_s = self.now_s()
        answer = await self.client.get(url, on_bytes)
        host = urlsplit(url).hostname or ""
        size = len(answer.body)
        if answer.status != 200:
            raise FetchError(host, f"status {answer.status}", size, size)
        wrong = self.truth.wrong(url, answer.body)
        if wrong is not None:
            self.diary.wrong.append(f"{pathway}: {wrong}")
            raise FetchError(host, wrong, size, size)
        ended_s = self.now_s()
        self._throughput_bps = round(size * 8 / max(ended_s - started_s, 1e-3))
        self.diary.got.append(Got(kind, index, pathway, host, size, started_s, ended_s))
        return answer

    async def _follow_steering(self, url: str) -> None:
        """Ask steering at once, and again whenever its TTL has passed; silence changes nothing."""
        while True:
            url, ttl_s = await self._steer_once(url)
            await asyncio.sleep(ttl_s)

    async def _steer_once(self, url: str) -> tuple[str, float]:
        """Ask for the steering manifest; returns where and in how many seconds to ask again."""
        sign = "&" if "?" in url else "?"
        pathway = self._pathways.choose(self.now_s())
        query = f"{sign}_HLS_pathway={pathway}&_HLS_throughput={self._throughput_bps}"
        try:
            answer = await self._steering_client.get(url + query)
            if answer.status != 200:
                return url, RETRY_STEERING_S
            manifest = decode(SteeringManifest, answer.body, "steering manifest")
        except (FetchError, WireError):
            return url, RETRY_STEERING_S
        self.diary.steering_asked += 1
        self._pathways.steer(manifest.priority)
        again = urljoin(url, manifest.reload_uri) if manifest.reload_uri else url
        return again, max(STEERING_TTL_MIN_S, manifest.ttl_s)
