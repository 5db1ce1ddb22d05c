"""What workers and the fetcher say to each other: MessagePack in datagrams of a Unix socket. Pure.

A worker asks for an object by its key, then wants chunks of one version of it; the fetcher says how
far each has come, passing its open file beside the message. Chunks that are stored need no message:
a worker opens them by name, and names are never used again for other bytes.
"""

from __future__ import annotations

import msgspec

from oca.through.chunks import chunk_at

DOOR = "through.sock"
"""The fetcher's socket, in the run folder."""
RUN_FILE = "run"
"""In the region's folder: where the run folder is, for whoever knows the store alone."""

MESSAGE_BYTES_MAX = 60_000
"""Below what a Unix datagram may have with the usual buffers (net.core.wmem_default, 212,992)."""

ALONE_AHEAD = 4
"""Chunks kept for one client alone: they are in nobody's bound but this one."""

HUGE_BYTES = 2**60  # of a body whose length is not known
BATCH_MAX = 512  # hits or evictions in one message


class Ask(msgspec.Struct, tag="a", array_like=True):
    """Which version of `key` is to be served now? Answered by Found or Failed of the same `id`.

    `first`–`last` are the bytes that the client wants (`last` None: to the end), `range` its
    Range as sent, needed only when the answer is one that cannot be shared. `ahead` is how many
    chunks stream `id` wants at once, should they have to be fetched.
    """

    id: int
    key: str
    head: bool = False
    first: int | None = None
    last: int | None = None
    range: str = ""
    ahead: int = 1


class Want(msgspec.Struct, tag="w", array_like=True):
    """Stream `id` needs chunks `low`–`high` of `version` soon, and those up to `last` later.

    A later Want of the same stream replaces it.
    """

    id: int
    version: str
    low: int
    high: int
    last: int


class Leave(msgspec.Struct, tag="l", array_like=True):
    """Stream or question `id` needs nothing more."""

    id: int


class Hits(msgspec.Struct, tag="h", array_like=True):
    """Chunks (version, number) that were served from the disk, in order, for the policy."""

    chunks: list[tuple[str, int]]


class Lost(msgspec.Struct, tag="z", array_like=True):
    """A chunk that was said to be stored is not there."""

    version: str
    number: int


class Purge(msgspec.Struct, tag="p", array_like=True):
    """Forget these objects, and whatever is being fetched of them; `below`: all keys that begin so.
    An operator's or the agent's word, answered by Purged."""

    keys: list[str]
    below: bool = False


class View(msgspec.Struct, array_like=True, frozen=True):
    """One version as a worker needs it to answer; `lines` are its end-to-end header lines.

    `size` None: not known until it ends. `alone`: to be sent as it came, to one client. `body`: an
    answer that is no object. `fresh_for_s` seconds from now, 0: ask again next time. `whole`: all
    of it was stored then.
    """

    version: str
    status: int
    size: int | None
    etag: str
    modified: str
    dated: bool
    media_type: str
    lines: bytes
    date: str
    age_s: float
    fresh_for_s: float
    alone: bool = False
    body: bytes | None = None
    whole: bool = False


class Found(msgspec.Struct, tag="f", array_like=True):
    """Serve this. `forward` is RFC 9211's reason why it was asked for ("" when it was not), and
    `status` what the upstream said (0: it was not asked); `stored` that it is kept. `begun`: the
    first chunks of `first_window` are wanted already, by stream `id`."""

    id: int
    view: View
    forward: str = ""
    status: int = 0
    collapsed: bool = False
    stored: bool = False
    begun: bool = False


class Failed(msgspec.Struct, tag="x", array_like=True):
    """No version can be served: answer `status` (416 with `size`, 502, 503, 504)."""

    id: int
    status: int
    why: str
    size: int | None = None


class Begun(msgspec.Struct, tag="b", array_like=True):
    """A chunk is being fetched; its file comes with this message. `bytes` of it are there."""

    version: str
    number: int
    bytes: int


class Grown(msgspec.Struct, tag="g", array_like=True):
    """So many bytes of the chunk are there now."""

    version: str
    number: int
    bytes: int


class Done(msgspec.Struct, tag="d", array_like=True):
    """The chunk is whole, of `bytes`; `stored` under its name, or gone when nobody has it open.

    `end` says that the version ends with it, when its size was not known.
    """

    version: str
    number: int
    bytes: int
    stored: bool
    end: bool = False


class Gone(msgspec.Struct, tag="n", array_like=True):
    """What stream `id` wants cannot be had: the object changed (409), or the upstream failed."""

    id: int
    status: int
    why: str


class Evicted(msgspec.Struct, tag="e", array_like=True):
    """Chunks whose files were unlinked: those who have them open let go."""

    chunks: list[tuple[str, int]]


class Dropped(msgspec.Struct, tag="o", array_like=True):
    """Views that are not to be used any more: their objects changed or were purged."""

    keys: list[str]


class Purged(msgspec.Struct, tag="u", array_like=True):
    """How many objects a Purge found."""

    count: int


def first_window(ask: Ask, view: View) -> Want:
    """What is wanted of a version first by who asked so."""
    size = HUGE_BYTES if view.size is None else max(1, view.size)
    first = 0 if view.alone or ask.first is None else min(ask.first, size - 1)
    last = size - 1 if view.alone or ask.last is None else min(ask.last, size - 1)
    low, end = chunk_at(first), chunk_at(last)
    ahead = min(ask.ahead, ALONE_AHEAD) if view.alone else ask.ahead
    return Want(ask.id, view.version, low, min(low + ahead - 1, end), end)


FromWorker = Ask | Want | Leave | Hits | Lost | Purge
FromFetcher = Found | Failed | Begun | Grown | Done | Gone | Evicted | Dropped | Purged

_encoder = msgspec.msgpack.Encoder()
_to_fetcher: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
_to_worker: msgspec.msgpack.Decoder[FromFetcher] = msgspec.msgpack.Decoder(FromFetcher)


def pack(message: FromWorker | FromFetcher) -> bytes:
    """One datagram."""
    return _encoder.encode(message)


def heard_by_fetcher(raw: bytes) -> FromWorker:
    """A worker's message; raises msgspec.DecodeError for what is none."""
    return _to_fetcher.decode(raw)


def heard_by_worker(raw: bytes) -> FromFetcher:
    """The fetcher's message; raises msgspec.DecodeError for what is none."""
    return _to_worker.decode(raw)
