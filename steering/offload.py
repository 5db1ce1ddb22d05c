"""What would hold up the loop for seconds, in a process of its own: large route reports and tables.

`python -m steering.offload FD sift|build …` is one job, from stdin to FD, at low priority. Threads
would not do: decoding a full table holds the interpreter for a second, building one for two.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from steering.aside import TooLongError, answer, aside
from steering.locate import RouteTable, Source
from steering.packed import Packed
from steering.record import Sifted, sift_for
from wire import log
from wire.codec import decode
from wire.durable import write_durably
from wire.errors import UnavailableError, WireError
from wire.reports import Routes

NICENESS = 10
JOB_S_MAX = 120.0  # a full table takes 5 s, on a busy machine ten times as long
_LENGTH = struct.Struct(">I")


class _SiftJob(msgspec.Struct):
    body: bytes
    origin_asns: tuple[int, ...]


class _Sifted(msgspec.Struct):
    report: Routes
    packed: bytes
    dropped: dict[str, int]


class _Refused(msgspec.Struct, tag=True):
    what: str
    where: str
    detail: str


class _Taken(msgspec.Struct, tag=True):
    sifted: _Sifted


class _Part(msgspec.Struct):
    site: str
    gone: bool
    packed: bytes


async def sift_elsewhere(body: bytes, origin_asns: Collection[int]) -> tuple[Routes, Sifted]:
    """A route report's head (without its routes), and what of it may be taken; raises WireError
    for what is no report, UnavailableError when the process failed."""
    job = _SiftJob(body, tuple(origin_asns))
    raw = await _run("sift", [msgspec.msgpack.encode(job)])
    answer = msgspec.msgpack.decode(raw, type=_Refused | _Taken)
    if isinstance(answer, _Refused):
        raise WireError(answer.what, answer.where, answer.detail)
    sifted = answer.sifted
    return sifted.report, (Packed.from_buffer(sifted.packed), sifted.dropped)


async def build_elsewhere(sources: Sequence[Source], keep: Path) -> memoryview:
    """The route table of these sources, for `RouteTable.from_buffer`, kept in the file `keep` as
    well; raises UnavailableError."""
    parts = (_Part(one.site, one.gone, one.routes.to_bytes()) for one in sources)
    return await _run("build", map(msgspec.msgpack.encode, parts), str(keep))


async def _run(job: str, given: Iterable[bytes], *words: str) -> memoryview:
    framed = (_LENGTH.pack(len(piece)) + piece for piece in given)
    try:
        code, made = await aside("steering.offload", (job, *words), framed, JOB_S_MAX)
    except TooLongError as exc:
        raise UnavailableError("routes take too long to work out; send them again") from exc
    except OSError as exc:
        raise UnavailableError(f"routes could not be worked out: {exc.strerror}") from exc
    if code:
        raise UnavailableError("routes could not be worked out; send them again")
    return made


def sift_job(given: Iterator[bytes]) -> bytes:
    """The job `sift`."""
    job = msgspec.msgpack.decode(next(given), type=_SiftJob)
    try:
        report = decode(Routes, job.body, "routes")
    except WireError as exc:
        return msgspec.msgpack.encode(_Refused(exc.what, exc.where, exc.detail))
    packed, dropped = sift_for(report.routes, job.origin_asns)
    head = msgspec.structs.replace(report, routes=())
    return msgspec.msgpack.encode(_Taken(_Sifted(head, packed.to_bytes(), dropped)))


def build_job(given: Iterator[bytes]) -> bytes:
    """The job `build`."""
    parts = (msgspec.msgpack.decode(raw, type=_Part) for raw in given)
    sources = [Source(one.site, Packed.from_buffer(one.packed), one.gone) for one in parts]
    return RouteTable.build(sources).to_bytes()


def pieces(stream: BinaryIO) -> Iterator[bytes]:
    """What was sent, one by one."""
    while length := stream.read(_LENGTH.size):
        yield stream.read(*_LENGTH.unpack(length))


def main() -> None:
    """One job: FD sift, or FD build FILE."""
    os.nice(NICENESS)
    fd, job, *words = sys.argv[1:]
    made = {"sift": sift_job, "build": build_job}[job](pieces(sys.stdin.buffer))
    answer(int(fd), made)
    for file in words:
        try:
            write_durably(Path(file), made)
        except OSError as exc:
            log.configure("steering", "info")
            log.get("offload").error("the route table was not kept", why=str(exc))


if __name__ == "__main__":
    main()
