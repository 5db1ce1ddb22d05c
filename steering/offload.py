"""What would hold up the loop for seconds, in a process of its own: large route reports and tables.

`python -m steering.offload sift|build` is one job, from stdin to stdout, at low priority. Threads
would not do: decoding a full table holds the interpreter for a second, building one for two.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO

import msgspec

from steering.locate import RouteTable, Source
from steering.packed import Packed
from steering.record import Sifted, sift_for
from wire.codec import decode
from wire.errors import UnavailableError, WireError
from wire.reports import Routes

NICENESS = 10
JOB_S_MAX = 120.0  # a full table takes 5 s, on a busy machine ten times as long
ANSWER_READ_BYTES = 1024 * 1024
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


async def build_elsewhere(sources: Sequence[Source]) -> bytes:
    """The route table of these sources, for `RouteTable.from_buffer`; raises UnavailableError."""
    parts = (_Part(one.site, one.gone, one.routes.to_bytes()) for one in sources)
    return await _run("build", map(msgspec.msgpack.encode, parts))


async def _run(job: str, given: Iterable[bytes]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steering.offload", job,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=ANSWER_READ_BYTES,
    )  # fmt: skip
    try:
        async with asyncio.timeout(JOB_S_MAX):
            made = await _talk(process, given)
            await process.wait()
    except TimeoutError as exc:
        raise UnavailableError("routes take too long to work out; send them again") from exc
    except (ConnectionError, BrokenPipeError):
        made = b""
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UnavailableError("routes could not be worked out; send them again")
    return made


async def _talk(process: asyncio.subprocess.Process, given: Iterable[bytes]) -> bytes:
    """Piece by piece, each made when the last is on its way: the loop answers in between."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise UnavailableError("there is no process to talk to")
    for piece in given:
        stdin.write(_LENGTH.pack(len(piece)) + piece)
        await stdin.drain()
        await asyncio.sleep(0)
    stdin.close()
    return await stdout.read()


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
    """One job."""
    os.nice(NICENESS)
    job = {"sift": sift_job, "build": build_job}[sys.argv[1]]
    sys.stdout.buffer.write(job(pieces(sys.stdin.buffer)))


if __name__ == "__main__":
    main()
