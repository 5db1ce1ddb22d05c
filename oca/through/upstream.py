"""The one upstream, over aiohttp: every request is ours alone, foreign exceptions end here.

An adapter. No header of a client's goes upstream, so an answer is nobody's in particular; redirects
are not followed, so nothing but the configured upstream is ever asked (SSRF).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from oca.through.breaker import Breaker
from oca.through.knobs import Through
from oca.through.verdict import LINES_BYTES_MAX, joined
from wire.errors import WireError
from wire.log import get

READ_BYTES = 256 * 1024
"""Bytes that may wait unread; a piece has at most so many."""

_log = get("through")


def base_of(text: str) -> URL:
    """The base URL of an upstream; raises WireError when it is none."""
    try:
        base = URL(text)
    except ValueError:
        base = URL()
    if base.scheme not in ("http", "https") or not base.host or base.raw_query_string:
        raise WireError("upstream", "", f"{text!r} is not http(s)://host[:port][/path]")
    return base


class UpstreamError(Exception):
    """No answer, or not the end of one: `status` (502, 503, 504) is what clients are told."""

    def __init__(self, status: int, why: str) -> None:
        """`why` is for the log."""
        self.status, self.why = status, why
        super().__init__(why)


def _short(exc: BaseException) -> str:
    """One line of it: a parser's complaint quotes what it could not read."""
    return (str(exc).partition("\n")[0] or type(exc).__name__)[:160]


class Response:
    """An answer whose head has come. `close` it, whatever happens."""

    def __init__(self, raw: aiohttp.ClientResponse, done: Callable[[], None]) -> None:
        """`done` is called once, when it does not count any more."""
        self._raw, self._done = raw, done
        self._has_turn = True
        self.status = raw.status
        self.raw_headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in raw.raw_headers
        ]
        self.headers = joined(self.raw_headers)
        self.came_s = time.time()

    async def piece(self) -> bytes:
        """What has come next, empty at the end; raises UpstreamError when it is cut."""
        try:
            return await self._raw.content.readany()
        except TimeoutError as exc:
            raise UpstreamError(504, "stalled") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise UpstreamError(502, f"cut: {_short(exc)}") from exc

    def give_turn(self) -> None:
        """Its reader is slow: it does not count among the requests at once any more."""
        if self._has_turn:
            self._has_turn = False
            self._done()

    def close(self) -> None:
        """No more of it is read; a connection that has more to say is not used again."""
        self._raw.release() if self._raw.content.at_eof() else self._raw.close()
        self.give_turn()


class Upstream:
    """The base URL, a bound on requests at once, and the breaker."""

    def __init__(
        self, knobs: Through, session: aiohttp.ClientSession, sign: Callable[[], str] | None
    ) -> None:
        """`sign` gives an Authorization of our own; raises WireError for a bad base URL."""
        base = base_of(knobs.upstream)
        self._origin, self._prefix = base.origin(), base.raw_path.rstrip("/")
        self._session, self._knobs, self._sign = session, knobs, sign
        self._slots = asyncio.Semaphore(knobs.upstream_parallel)
        self.breaker = Breaker()
        self.asked = 0
        """Requests made since the start."""

    @property
    def is_crowded(self) -> bool:
        """Whether a request would have to wait for another's end."""
        return self._slots.locked()

    async def ask(self, method: str, key: str, extra: Mapping[str, str]) -> Response:
        """Ask for `key` (an origin-form target); raises UpstreamError when no head comes."""
        if not self.breaker.may_ask(time.monotonic()):
            raise UpstreamError(503, "upstream left alone for a while")
        headers = {"Accept-Encoding": "identity", "User-Agent": "oca", "Via": "1.1 oca", **extra}
        if self._sign is not None:
            headers["Authorization"] = self._sign()
        try:
            await self._slots.acquire()
            try:
                return await self._head(method, key, headers)
            except BaseException:
                self._slots.release()
                raise
        except BaseException:
            self.breaker.give_up()
            raise

    async def _head(self, method: str, key: str, headers: Mapping[str, str]) -> Response:
        url = URL(f"{self._origin}{self._prefix}{key}", encoded=True)
        self.asked += 1
        try:
            async with asyncio.timeout(self._knobs.head_s):
                raw = await self._session.request(
                    method, url, headers=headers, allow_redirects=False
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as exc:
            self.breaker.on_failure(time.monotonic())
            status = 504 if isinstance(exc, TimeoutError) else 502
            why = _short(exc)
            _log.warning("upstream does not answer", key=key[:256], why=why)
            raise UpstreamError(status, why) from exc
        self.breaker.on_answer()
        if sum(len(n) + len(v) + 4 for n, v in raw.raw_headers) > LINES_BYTES_MAX:
            raw.close()
            raise UpstreamError(502, "too many headers")
        return Response(raw, self._slots.release)


def new_session(knobs: Through) -> aiohttp.ClientSession:
    """The client's connections; bytes come as they were sent, not decompressed."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_BYTES,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=knobs.connect_s, sock_read=knobs.stall_s
        ),
        trust_env=False,
    )
