"""Which version of a key is to be served now: from what is known, or asked of the upstream once.

An adapter (asyncio, clock). All who ask while the upstream is being asked wait for one answer; only
what turns out to be for one client alone is asked for once by each of them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgspec

from oca.through.chunks import CHUNK_BYTES, aligned, chunk_at
from oca.through.disk import new_version
from oca.through.flight import Flight
from oca.through.freshness import Freshness, freshness_of, is_explicit
from oca.through.hub import Hub, meta_of
from oca.through.links import Link
from oca.through.messages import Ask, Failed, Found, View, first_window
from oca.through.renewal import contradicts, merged, renewed
from oca.through.upstream import Response, UpstreamError
from oca.through.validators import Validators
from oca.through.verdict import (
    SMALL_BYTES_MAX,
    Asked,
    Beyond,
    Body,
    Broken,
    Passing,
    Small,
    Unchanged,
    judge,
    lines_of,
    worth_keeping,
)
from oca.through.versions import HUGE, PASS_S, Known, Short, Version

_NOT_FOUND = frozenset({404, 410})


@dataclass(slots=True)
class Waiting:
    """A worker's question that has no answer yet."""

    link: Link
    ask: Ask


class Lookups:
    """Answers Ask messages."""

    def __init__(self, hub: Hub) -> None:
        """Uses the hub's book, upstream and flights."""
        self._hub = hub
        self._waiting: dict[str, list[Waiting]] = {}

    def ask(self, link: Link, ask: Ask) -> None:
        """Answer now, or when the upstream has."""
        now_s = time.time()
        known = self._hub.know(ask.key)
        if self._answer_known(known, link, ask, now_s):
            return
        if now_s < known.pass_until_s:
            self._hub.start(asyncio.create_task(self._pass(Waiting(link, ask))))
            return
        self._waiting.setdefault(ask.key, []).append(Waiting(link, ask))
        if not known.busy:
            self._begin(known, ask)

    def _answer_known(self, known: Known, link: Link, ask: Ask, now_s: float) -> bool:
        short, version = known.short, known.version
        if short is not None and now_s < short.until_s:
            link.send(Found(ask.id, short.view(now_s)))
            return True
        if version is None:
            return False
        if version.freshness.fresh_for_s(now_s) > 0:
            link.send(Found(ask.id, version.view(now_s)))
            return True
        if version.freshness.usable_meanwhile(now_s):
            link.send(Found(ask.id, version.view(now_s), forward="stale", stored=True))
            if not known.busy:
                self._begin(known, ask)
            return True
        return False

    def forget(self, link: Link, number: int) -> None:
        """A question is withdrawn; what is being asked of the upstream is asked to the end."""
        for waiting in self._waiting.values():
            waiting[:] = [w for w in waiting if w.link is not link or w.ask.id != number]

    def lose(self, link: Link) -> None:
        """A worker is gone."""
        for waiting in self._waiting.values():
            waiting[:] = [w for w in waiting if w.link is not link]

    # --- asking the upstream ---------------------------------------------------------------------

    def _begin(self, known: Known, ask: Ask) -> None:
        known.busy = True
        self._hub.start(asyncio.create_task(self._look_up(known, ask)))

    async def _look_up(self, known: Known, ask: Ask) -> None:
        """Ask once for all who wait; whatever happens, all of them are answered."""
        response = None
        try:
            version = known.version
            asked, extra = question(version, ask)
            asked_s = time.time()
            response = await self._hub.upstream.ask("HEAD" if asked.head else "GET", ask.key, extra)
            if known.version is not version and response.status == 304:
                raise UpstreamError(503, "it changed while it was asked about")
            if await self._settle(known, ask, asked, response, asked_s):
                response = None
        except UpstreamError as exc:
            self._on_error(known, exc)
        finally:
            if response is not None:
                response.close()
            known.busy = False
            left = self._waiting.pop(known.key, [])
            for waiting in left:  # a fault of ours, else there are none
                waiting.link.send(Failed(waiting.ask.id, 502, "no answer"))

    async def _settle(
        self, known: Known, ask: Ask, asked: Asked, response: Response, asked_s: float
    ) -> bool:
        """Act on the head; True when the response has a new owner."""
        now_s = response.came_s
        verdict = judge(response.status, response.headers, asked, now_s)
        if isinstance(verdict, Body):
            if not verdict.why:
                return self._on_body(known, asked, response, verdict, asked_s)
            return self._on_passing(known, ask, asked, response, asked_s, verdict.why)
        if isinstance(verdict, Passing):
            return self._on_passing(known, ask, asked, response, asked_s, verdict.why)
        if isinstance(verdict, Unchanged) and known.version is not None:
            if contradicts(known.version.validators.etag, response.headers):
                self._hub.end(known.version, "the upstream confirms another version")
                self._ask_anew(known)
                return False
            self._renew(known.version, response, asked_s)
            self._found(known, known.version, "stale", 304, now_s)
        elif isinstance(verdict, Small):
            await self._on_small(known, asked, response, verdict, asked_s)
        elif isinstance(verdict, Beyond):
            for waiting in self._waiting.pop(known.key, []):
                waiting.link.send(Failed(waiting.ask.id, 416, "beyond the end", verdict.size))
        else:
            why = verdict.why if isinstance(verdict, Broken) else "304 to nothing"
            raise UpstreamError(502, why)
        return False

    def _found(
        self,
        known: Known,
        version: Version,
        forward: str,
        status: int,
        now_s: float,
        *,
        begun: bool = False,
    ) -> None:
        """Tell all who wait; `begun`: its bytes are coming, and wanted by those who want a body."""
        view = version.view(now_s)
        waiting = self._waiting.pop(known.key, [])
        for i, w in enumerate(waiting):
            wants = begun and not w.ask.head
            found = Found(w.ask.id, view, forward, status, i > 0, stored=True, begun=wants)
            w.link.send(found)
            if wants:
                self._hub.want(w.link, first_window(w.ask, view))

    def _on_body(
        self, known: Known, asked: Asked, response: Response, body: Body, asked_s: float
    ) -> bool:
        """Bytes of an object that may be kept."""
        now_s, version = response.came_s, known.version
        forward = "uri-miss" if version is None else "stale"
        if version is not None and version.validators.same(body.validators):
            self._renew(version, response, asked_s)
        else:
            if version is not None:
                self._hub.end(version, "it changed")
            version = version_from(known.key, response, body, asked_s)
            self._hub.book.add(version)
            known.version = version
        self._hub.book.set_short(known, None)
        flies = not asked.head and body.last >= body.first
        if flies:
            self._fly(version, response, body.first, body.last)
        self._found(known, version, forward, response.status, now_s, begun=flies)
        return flies

    def _fly(self, version: Version, response: Response, first: int, last: int) -> None:
        """Read on in the answer that came with the head, as far as it is wanted."""
        end = HUGE if last < 0 else chunk_at(last)
        flight = Flight(self._hub, version, chunk_at(first), end, dense=not version.ranges)
        flight.take_over(response)
        self._hub.fly(flight)

    def _renew(self, version: Version, response: Response, asked_s: float) -> None:
        """It was confirmed: fresh again, with what the answer says anew."""
        version.lines = merged(version.lines, lines_of(response.raw_headers, response.headers))
        version.freshness = renewed(version.lines, response.headers, asked_s, response.came_s)
        version.date = response.headers.get("date", version.date)
        if version.persisted:
            self._hub.rewrite(meta_of(version))

    def _ask_anew(self, known: Known) -> None:
        """All who wait are answered as if they had asked just now."""
        for w in self._waiting.pop(known.key, []):
            asyncio.get_running_loop().call_soon(self.ask, w.link, w.ask)

    # --- answers that are no objects, or nobody else's -------------------------------------------

    async def _on_small(
        self, known: Known, asked: Asked, response: Response, small: Small, asked_s: float
    ) -> None:
        now_s, status = response.came_s, response.status
        version = known.version
        if status >= 500 and version is not None and version.freshness.usable_on_error(now_s, 0):
            self._found_stale(known, version, status)
            return
        if status in _NOT_FOUND and version is not None:
            self._hub.end(version, f"upstream says {status}")
        view = await _small_view(response, known.key, head=asked.head)
        life_s = self._life(response, small, asked_s)
        if not asked.head:  # it has no body that a GET could be answered with
            short = Short(view, now_s, now_s + life_s) if life_s > 0 else None
            self._hub.book.set_short(known, short)
        for i, w in enumerate(self._waiting.pop(known.key, [])):
            if asked.head and not w.ask.head:
                asyncio.get_running_loop().call_soon(self.ask, w.link, w.ask)
            elif i and not small.shared:
                self._hub.start(asyncio.create_task(self._pass(w)))
            else:
                stored = life_s > 0 and not asked.head
                w.link.send(Found(w.ask.id, view, "uri-miss", status, i > 0, stored))

    def _life(self, response: Response, small: Small, asked_s: float) -> float:
        """For how many seconds a short answer is remembered."""
        if not small.kept:
            return 0.0
        life_s = self._hub.knobs.negative_s
        if is_explicit(response.headers):
            fresh = freshness_of(response.headers, asked_s, response.came_s)
            life_s = fresh.fresh_for_s(response.came_s)
        if response.status >= 500:
            failed_s = self._hub.knobs.failed_s
            return min(failed_s, life_s if life_s > 0 else failed_s)
        return life_s

    def _found_stale(self, known: Known, version: Version, status: int) -> None:
        self._found(known, version, "stale", status, time.time())

    def _on_error(self, known: Known, exc: UpstreamError) -> None:
        """No answer at all: what we have, if it may be used as the upstream is away."""
        version, now_s = known.version, time.time()
        stale_s = self._hub.knobs.stale_s
        if version is not None and version.freshness.usable_on_error(now_s, stale_s):
            self._found_stale(known, version, 0)
            return
        for waiting in self._waiting.pop(known.key, []):
            waiting.link.send(Failed(waiting.ask.id, exc.status, exc.why))

    def _on_passing(
        self,
        known: Known,
        ask: Ask,
        asked: Asked,
        response: Response,
        asked_s: float,
        why: str,
    ) -> bool:
        """Not to be shared: the first to ask gets it if it is what that one asked for."""
        if not asked.head:  # a HEAD may lack what a GET has: Content-Length
            known.pass_until_s = response.came_s + PASS_S
        self._hub.book.set_short(known, None)
        if known.version is not None:
            self._hub.end(known.version, why)
        owned = False
        for w in self._waiting.pop(known.key, []):
            if w.ask is ask and not owned and asked.head == ask.head and not ask.range:
                owned = self._hand_over(w, response, asked_s)
            elif asked.head and not w.ask.head:
                asyncio.get_running_loop().call_soon(self.ask, w.link, w.ask)
            else:
                self._hub.start(asyncio.create_task(self._pass(w)))
        return owned

    async def _pass(self, waiting: Waiting) -> None:
        """Ask for one client alone, as that one did."""
        ask = waiting.ask
        extra = {"Range": ask.range} if ask.range else {}
        asked_s = time.time()
        try:
            response = await self._hub.upstream.ask("HEAD" if ask.head else "GET", ask.key, extra)
        except UpstreamError as exc:
            waiting.link.send(Failed(ask.id, exc.status, exc.why))
            return
        if response.status == 304 or response.status < 200:
            response.close()
            waiting.link.send(Failed(ask.id, 502, "not what was asked for"))
        elif not self._hand_over(waiting, response, asked_s):
            response.close()

    def _hand_over(self, waiting: Waiting, response: Response, asked_s: float) -> bool:
        """Give a response to one client; True when its body is being read."""
        version, ask = alone_from(waiting.ask.key, response), waiting.ask
        validators = worth_keeping(response.status, response.headers, response.came_s)
        if validators is not None and not ask.head and not ask.range:
            version.whole_only, version.ranges, version.validators = True, False, validators
            version.freshness = freshness_of(response.headers, asked_s, response.came_s)
        self._hub.book.add(version)
        view = version.view(response.came_s)
        flies = not (ask.head or version.size == 0 or response.status == 204)
        forward = "uri-miss" if version.whole_only else "bypass"
        waiting.link.send(Found(ask.id, view, forward, response.status, begun=flies))
        if flies:
            self._fly(version, response, 0, -1 if version.size is None else version.size - 1)
            self._hub.want(waiting.link, first_window(ask, view))
        else:
            self._hub.tidy(version)
        return flies


def question(version: Version | None, ask: Ask) -> tuple[Asked, dict[str, str]]:
    """What to ask the upstream for, and its header fields.

    Whole chunks around the range that the client wants; a condition when a version is known.
    """
    extra: dict[str, str] = {}
    about = None
    if version is not None:
        about, extra = version.validators, version.validators.conditions
        about = about if extra else None
    if ask.head and about is None:
        return Asked(head=True), extra
    if ask.first is None or (version is not None and not version.ranges):
        return Asked(about=about), extra
    first, last = aligned(ask.first, ask.first + CHUNK_BYTES if ask.last is None else ask.last)
    if ask.last is None:
        return Asked(first, 2**62, about), {**extra, "Range": f"bytes={first}-"}
    return Asked(first, last, about), {**extra, "Range": f"bytes={first}-{last}"}


def version_from(key: str, response: Response, body: Body, asked_s: float) -> Version:
    """A new version, as the head of its first answer describes it."""
    return Version(
        new_version(),
        key,
        body.validators,
        freshness_of(response.headers, asked_s, response.came_s),
        media_type=response.headers.get("content-type", "application/octet-stream"),
        lines=lines_of(response.raw_headers, response.headers),
        date=response.headers.get("date", ""),
        ranges=body.ranges,
    )


def alone_from(key: str, response: Response) -> Version:
    """An answer for one client alone; a part of an object is then all that there is."""
    text = response.headers.get("content-length", "")
    known = text.isascii() and text.isdigit() and "transfer-encoding" not in response.headers
    age_s = freshness_of(response.headers, response.came_s, response.came_s).age_s
    lines = lines_of(response.raw_headers, response.headers)
    if response.status in (206, 416) and "content-range" in response.headers:
        value = response.headers["content-range"].encode("latin-1", "replace")
        lines += b"Content-Range: " + value + b"\r\n"
    return Version(
        new_version(),
        key,
        Validators(int(text[:18]) if known else -1),
        Freshness(response.came_s, age_s, 0.0, strict=True),
        media_type=response.headers.get("content-type", ""),
        lines=lines,
        date=response.headers.get("date", ""),
        alone=True,
        status=response.status,
    )


async def _small_view(response: Response, key: str, *, head: bool) -> View:
    """A short answer with its body, which that to a HEAD lacks; raises UpstreamError when it is
    longer than it should be."""
    body = b""
    while piece := await response.piece():
        body += piece
        if len(body) > SMALL_BYTES_MAX:
            raise UpstreamError(502, "too long for what it is")
    view = alone_from(key, response).view(response.came_s)
    return msgspec.structs.replace(view, size=view.size if head else len(body), body=body)
