"""Large route reports and tables are worked out by another process, to the same result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from steering.address import parse_client
from steering.aside import TooLongError, aside
from steering.locate import RouteTable, Source
from steering.offload import build_elsewhere, build_job, sift_elsewhere
from steering.packed import pack
from steering.record import sift_for
from wire.codec import encode
from wire.errors import UnavailableError, WireError
from wire.reports import Route, Routes

ROUTES = tuple(Route(prefix=f"10.{n}.0.0/16", as_path=(64500 + n % 2,)) for n in range(200))
REPORT = Routes(appliance="a1", epoch="00000000000000aa", boot=3, seq=7, routes=ROUTES)


async def test_another_process_sifts_a_report_as_we_would() -> None:
    """The same routes are taken, the same are dropped, and the head comes back."""
    head, (packed, dropped) = await sift_elsewhere(encode(REPORT), [64500])
    ours, our_dropped = sift_for(ROUTES, [64500])
    assert packed == ours and dropped == our_dropped == {"origin AS not allowed": 100}
    assert (head.appliance, head.boot, head.seq, head.routes) == ("a1", 3, 7, ())


async def test_what_is_no_report_is_refused_with_the_field() -> None:
    """Another process's refusal reads like our own."""
    with pytest.raises(WireError, match=r"routes: \$: "):
        await sift_elsewhere(b"{}", [])


async def test_another_process_builds_the_same_table(tmp_path: Path) -> None:
    """What it sends back locates as a table that was built here, and is kept for the next start."""
    sources = [Source("isp", pack(ROUTES)), Source("ix", pack([Route(prefix="10.0.0.0/8")]))]
    kept = tmp_path / "routes.table"
    sent = await build_elsewhere(sources, kept)
    assert sent == kept.read_bytes()
    made = RouteTable.from_buffer(sent)
    here = RouteTable.build(sources)
    for text in ("10.3.4.5", "10.250.0.1", "192.0.2.1"):
        client = parse_client(text)
        assert made.locate(client) == here.locate(client)


async def test_a_table_that_cannot_be_kept_is_used_all_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A full disk costs the next start some seconds, and is in the log."""
    sources = [Source("isp", pack(ROUTES))]
    made = await build_elsewhere(sources, tmp_path / "none" / "routes.table")
    assert len(RouteTable.from_buffer(made)) == len(ROUTES)
    assert "the route table was not kept" in capfd.readouterr().err


async def test_a_process_that_fails_is_said_to_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reported hears 503 and sends again; the old table stays."""
    monkeypatch.setattr("steering.aside.sys.executable", "/bin/false")
    with pytest.raises(UnavailableError):
        await build_elsewhere([], tmp_path / "routes.table")
    with pytest.raises(msgspec.DecodeError):
        build_job(iter([b"\xc0"]))


def slowly() -> Iterator[bytes]:
    """A piece that no job ever has the end of."""
    yield b"\xff\xff\xff\xff"
    while True:
        time.sleep(0.01)
        yield bytes(2**16)


async def test_a_job_without_an_end_is_ended() -> None:
    """After its time, or when nobody waits for it any more: nothing of it is left."""
    with pytest.raises(TooLongError):
        await aside("steering.offload", ("sift",), slowly(), limit_s=0.5)
    job = asyncio.create_task(aside("steering.offload", ("build",), slowly(), limit_s=60))
    await asyncio.sleep(0.2)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await asyncio.get_running_loop().shutdown_default_executor()
