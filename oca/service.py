"""From a parsed request to what shall be sent and on whose account: the data plane's one decision.

Joins the pure parts (target, access, respond) with the files. A plain GET that was answered once is
remembered by its request line (`Hot`), as long as its file, its token and the generation hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Set
from typing import Protocol

import msgspec

from oca.access import Address, Gate, Grant, Refused
from oca.account import DemandKey
from oca.files import Entry, Shelf, asset_of
from oca.http.errors import RequestError
from oca.http.head import Fields, Line
from oca.http.ranges import split_path_range
from oca.http.respond import ALLOW, Facts, Plan, options, part_of, refuse, respond
from oca.http.target import decode_path
from wire.errors import UnavailableError

COMING = b"Retry-After: 1\r\n"
"""Beside a 404 to a peer: it is being fetched here, do not fetch it from outside as well."""
HOT_MAX = 16_384
"""Request lines remembered; one with a token has ~500 bytes, so ~12 MB when full."""


class Hot(msgspec.Struct):
    """A plain GET's answer by its request line: true while `entry` and `until_s` (monotonic) hold.

    `host` is the Host it was granted for, None when that does not matter.
    """

    entry: Entry
    key: DemandKey | None
    host: bytes | None
    until_s: float


class Request(msgspec.Struct, frozen=True):
    """One request as the edge saw it: `raw_line` is its first line, `inside` whether its client
    may be served by where it is, `close` whether the connection ends after the answer.

    `date` is the present IMF-fixdate, `now_s` Unix time, `tick_s` monotonic. `absent` has the keys
    for which a thread found nothing since it was asked first. `client` is the peer's address; a
    token that names one opens nothing where it is not known. `cookie` is the next token of its
    chain, for an answer that is to come.
    """

    raw_line: bytes
    line: Line
    fields: Fields
    inside: bool
    close: bool
    date: bytes
    now_s: float
    tick_s: float
    absent: Set[bytes] = frozenset()
    client: str = ""
    cookie: bytes = b""


class Feed(Protocol):
    """A body that is in several files, or still coming (oca.through)."""

    on_ready: Callable[[], None]

    def take(self) -> tuple[list[bytes | memoryview | tuple[int, int]], Entry | None] | None:
        """The next parts and the file of their spans; no parts: it ended; None: `on_ready` is
        called when there is more. Raises FeedError."""

    def close(self) -> None:
        """No more of it is needed."""


class FeedError(Exception):
    """No more of a body can be had; `status` is for a client whose answer has not begun."""

    def __init__(self, status: int, why: str) -> None:
        """409: the object changed, and may be asked for again."""
        self.status, self.why = status, why
        super().__init__(why)


class Reply(msgspec.Struct):
    """What to send; `entry` is the file of the plan's spans, `key` whose demand it is.

    `refused` is the reason of a 403, `fill` says that a peer fetches; `feed` brings what follows
    the plan's parts.
    """

    plan: Plan
    entry: Entry | None = None
    key: DemandKey | None = None
    refused: str = ""
    fill: bool = False
    feed: Feed | None = None


class Pending(Protocol):
    """A reply that is to come."""

    def begin(self, tell: Callable[[Reply], None]) -> None:
        """Have `tell` called once, perhaps at once."""

    def give_up(self) -> None:
        """Nobody waits for it any more."""


class Later(Exception):
    """The reply is to come: `pending` brings it."""

    def __init__(self, pending: Pending) -> None:
        """Not begun yet."""
        super().__init__()
        self.pending = pending


class Missing(Protocol):
    """What is done with what is not stored."""

    def answer(self, request: Request, path: bytes, key: DemandKey | None) -> Reply:
        """The reply; raises Later when it is to come, RequestError for a doubtful target."""

    def forget(self) -> None:
        """The generation rose: nothing that was known may be true any more."""

    def count_in(self, metrics: memoryview) -> None:
        """Where this worker's counters are (oca.reasons)."""


class Service:
    """Answers requests from one `Shelf` of files, guarded by a `Gate` or open to all."""

    def __init__(self, files: Shelf, boundary: bytes, gate: Gate | None = None) -> None:
        """`boundary` is random per process; without a gate everybody is served (`--root`)."""
        self._files, self._boundary, self._gate = files, boundary, gate
        self.missing: Missing | None = None
        self.hot: dict[bytes, Hot] = {}
        self.coming: Callable[[int, float], bool] = _nothing_comes
        """Whether an asset is being fetched to this box just now (Unix seconds): peers may ask."""

    def replace_gate(self, gate: Gate | None) -> None:
        """The generation rose: other rules, and nothing remembered of files and grants."""
        self._gate = gate
        self.forget_files()

    def forget_files(self) -> None:
        """Whatever was opened or remembered may be gone."""
        self.hot.clear()
        self._files.forget()
        if self.missing is not None:
            self.missing.forget()

    def is_inside(self, client: Address) -> bool:
        """Whether clients at this address are served at all."""
        return self._gate is None or self._gate.is_inside(client)

    def answer(self, request: Request) -> Reply:
        """The reply to one request, whatever it is.

        Raises Cold: ask again when that is done; Later: it will come.
        """
        if request.line.method not in ("GET", "HEAD"):
            return self._other_method(request)
        try:
            return self._file(request)
        except Refused as exc:
            return Reply(_refusal(request, 403), refused=exc.reason)
        except RequestError as exc:
            return Reply(refuse(exc.status, date=request.date, line=request.line, close=True))
        except UnavailableError as exc:
            return Reply(_refusal(request, 503, b"Retry-After: %d\r\n" % exc.retry_after_s))

    def _other_method(self, request: Request) -> Reply:
        if request.line.method == "OPTIONS":
            return Reply(
                options(request.line, request.fields, date=request.date, close=request.close)
            )
        return Reply(_refusal(request, 405, ALLOW))

    def _file(self, request: Request) -> Reply:
        name = decode_path(request.line.path)  # what is doubtful is refused before all else
        path, grant = request.line.path, None
        if self._gate is not None:
            grant = self._gate.admit(
                request.line, request.fields, request.inside, request.now_s, request.client
            )
            path = grant.path
            name = decode_path(path)
        entry = self._entry(request, name)
        if entry is not None and name is not None:
            key = _key(grant, name)
            self._remember(request, entry, key, grant)
            return self._respond(request, entry, entry.facts, key, grant)
        return self._part(request, path, grant)

    def _entry(self, request: Request, name: tuple[bytes, ...] | None) -> Entry | None:
        if name is None:
            return None
        return self._files.get(name, request.tick_s, request.absent)

    def _part(self, request: Request, path: bytes, grant: Grant | None) -> Reply:
        """A part that the path names (`…/range/START-END`), or there is no such file."""
        split = split_path_range(path)
        name = None if split is None else decode_path(split[0])
        entry = self._entry(request, name)
        if split is None or name is None or entry is None:
            return self._missing(request, path, grant)
        facts = part_of(entry.facts, split[1], split[2])
        if facts is None:
            whole = b"Content-Range: bytes */%d\r\n" % entry.facts.size
            return Reply(_refusal(request, 416, whole))
        return self._respond(request, entry, facts, _key(grant, name), grant)

    def _missing(self, request: Request, path: bytes, grant: Grant | None) -> Reply:
        """Nothing of this name is stored; a peer that fills has other sources."""
        name = decode_path(path)
        if self.missing is None or (grant is not None and grant.peer):
            return Reply(_refusal(request, 404, self._hope(request, name, grant)))
        if grant is not None and grant.cookie:
            request = msgspec.structs.replace(request, cookie=grant.cookie)
        return self.missing.answer(request, path, None if name is None else _key(grant, name))

    def _hope(
        self, request: Request, name: tuple[bytes, ...] | None, grant: Grant | None
    ) -> bytes:  # fmt: skip
        """What a peer hears of an asset that is not here yet: when to ask again."""
        if grant is None or not grant.peer:
            return b""
        asset = asset_of(name or ())
        coming = asset is not None and self.coming(asset, request.now_s)
        return COMING if coming else b""

    def _respond(
        self,
        request: Request,
        entry: Entry,
        facts: Facts,
        key: DemandKey | None,
        grant: Grant | None,
    ) -> Reply:
        if grant is not None and grant.cookie:
            facts = _with_cookie(facts, grant.cookie)
        plan = respond(
            request.line,
            request.fields,
            facts,
            date=request.date,
            now_s=request.now_s,
            close=request.close,
            boundary=self._boundary,
        )
        return Reply(plan, entry, key, fill=grant is not None and grant.peer)

    def _remember(
        self, request: Request, entry: Entry, key: DemandKey | None, grant: Grant | None
    ) -> None:
        """Let the next plain GET with this very line be answered at once."""
        if request.line.method != "GET" or request.line.minor == 0 or not request.raw_line:
            return
        if request.line.query is not None:
            return  # CMCD makes every line new: it would only push out what comes again
        host, until_s = None, math.inf
        if grant is not None:
            if not grant.by_line:
                return
            host = request.fields.host
            until_s = request.tick_s + grant.exp_s - request.now_s
        if len(self.hot) >= HOT_MAX:
            self.hot.clear()
        self.hot[request.raw_line] = Hot(entry, key, host, until_s)


def _nothing_comes(_asset: int, _now_s: float) -> bool:
    return False


def _refusal(request: Request, status: int, extra: bytes = b"") -> Plan:
    return refuse(status, date=request.date, line=request.line, close=request.close, extra=extra)


def _with_cookie(facts: Facts, cookie: bytes) -> Facts:
    """The next token of a chain goes with the file, to this client and into no shared cache."""
    lines = facts.lines.replace(b"Cache-Control: public, ", b"Cache-Control: ", 1)
    lines = lines.replace(b"Cache-Control: ", b"Cache-Control: private, ", 1)
    return msgspec.structs.replace(facts, lines=lines + b"Set-Cookie: " + cookie + b"\r\n")


def _key(grant: Grant | None, name: tuple[bytes, ...]) -> DemandKey | None:
    """Whose demand a file is: (asset, home site of the client), None when it is nobody's."""
    asset = asset_of(name)
    if grant is None or grant.home is None or asset is None:
        return None
    return asset, grant.home
