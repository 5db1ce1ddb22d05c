"""The fast lane answers what aiohttp would answer, and leaves it whatever is not usual."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from steering.lane import is_plain
from tests.steering.replica import BOXES, IN_A, Replica, running

USUAL = b"Host: steering.example:80\r\nUser-Agent: x\r\nAccept: */*\r\n"
STEER = b"GET /v1/steer?asset=1 HTTP/1.1\r\n" + USUAL + b"\r\n"
# The same question in words that the lane does not know, so that aiohttp answers.
SLOW = b"GET /v1/steer?asset=1&x=1 HTTP/1.1\r\n" + USUAL + b"\r\n"


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[Replica]:
    """A replica whose boxes have reported."""
    async with running(tmp_path) as one:
        for name in [box for box in BOXES if box != "origin"]:
            await one.report(name)
        yield one


class Client:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, fields and body of the next answer."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:] if line)
            body = await self.reader.readexactly(int(fields["Content-Length"]))
        return int(lines[0].split()[1]), fields, body


async def connect(replica: Replica) -> Client:
    """A connection of a client in site isp-a."""
    return Client(
        *await asyncio.open_connection("127.0.0.1", replica.public_port, local_addr=(IN_A, 0))
    )


async def test_lane_and_aiohttp_give_the_same_answer(replica: Replica) -> None:
    """Status, fields and body: which way a request goes is nobody's business."""
    client = await connect(replica)
    client.writer.write(STEER)
    status, fields, body = await client.answer()
    client.writer.write(SLOW)
    slow_status, slow_fields, slow_body = await client.answer()
    assert status == slow_status == 200
    assert json.loads(body) | {"ttl_s": 0} == json.loads(slow_body) | {"ttl_s": 0}
    slow_fields.pop("Server")
    differing = {"Date", "Content-Length"}
    assert {k: v for k, v in fields.items() if k not in differing} == {
        k: v for k, v in slow_fields.items() if k not in differing
    }
    assert fields.keys() == slow_fields.keys()


@pytest.mark.parametrize("asked", [STEER, SLOW, STEER.replace(b"asset=1", b"title=film")])
async def test_no_two_clients_are_told_to_come_back_together(
    replica: Replica, asked: bytes
) -> None:
    """TTLs differ, whoever answers, and none is longer than the policy's (7 s)."""
    client = await connect(replica)
    client.writer.write(asked * 40)
    told = [json.loads((await client.answer())[2])["ttl_s"] for _ in range(40)]
    assert set(told) == {6, 7}


async def test_pipelined_requests_are_answered_in_order_whoever_answers(replica: Replica) -> None:
    """Ours, aiohttp's and ours again in one packet: answers come in the order of questions."""
    client = await connect(replica)
    title = STEER.replace(b"asset=1", b"title=film")
    client.writer.write(STEER + title + SLOW + title)
    counts = [len(json.loads((await client.answer())[2])["assets"]) for _ in range(4)]
    assert counts == [1, 4, 1, 4]


async def test_a_request_in_pieces_is_answered(replica: Replica) -> None:
    """A head that comes byte by byte is aiohttp's, and answered all the same."""
    client = await connect(replica)
    for place in range(len(STEER)):
        client.writer.write(STEER[place : place + 1])
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "head, status",
    [
        (b"GET /v1/steer?asset=77 HTTP/1.1\r\n" + USUAL + b"\r\n", 404),
        (b"GET /v1/steer?asset=x1 HTTP/1.1\r\n" + USUAL + b"\r\n", 400),
        (b"GET /v1/steer?title=none HTTP/1.1\r\n" + USUAL + b"\r\n", 404),
        (b"GET /v1/steer?asset=1 HTTP/1.1\r\nBad Header: x\r\n" + USUAL + b"\r\n", 400),
        (b"GET /v1/steer?asset=1 HTTP/1.1\r\nContent-Length: x\r\n" + USUAL + b"\r\n", 400),
    ],
)
async def test_what_is_wrong_is_said_by_aiohttp_s_handlers(
    replica: Replica, head: bytes, status: int
) -> None:
    """Errors have one home, whichever way the request came in."""
    client = await connect(replica)
    client.writer.write(head)
    assert (await client.answer())[0] == status


async def test_a_client_that_reads_nothing_is_not_buffered_without_end(replica: Replica) -> None:
    """It may ask no more than its socket takes; others are answered meanwhile."""
    greedy, other = await connect(replica), await connect(replica)
    transport = greedy.writer.transport
    transport.set_write_buffer_limits(high=1)  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            while True:
                greedy.writer.write(STEER * 500)
                await greedy.writer.drain()
    other.writer.write(STEER)
    assert (await other.answer())[0] == 200
    assert replica.process is not None
    status = await asyncio.to_thread(Path(f"/proc/{replica.process.pid}/status").read_text)
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak is not None and int(peak[1]) < 400_000
    greedy.writer.transport.abort()


@pytest.mark.parametrize(
    "block, plain",
    [
        (USUAL, True),
        (USUAL + b"Connection: keep-alive\r\n", True),
        (USUAL + b"Connection: close\r\n", False),
        (USUAL + b"Connection: keep-alive, upgrade\r\n", False),
        (USUAL + b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (USUAL + b"Content-Length: 3\r\n", False),
        (USUAL + b"transfer-encoding: chunked\r\n", False),
        (USUAL + b"Forwarded: for=192.0.2.1\r\n", False),
        (USUAL + b"Sec-Purpose: prefetch\r\n", False),
        (USUAL + b"Host: other\r\n", False),
        (b"Accept: */*\r\n", False),
        (USUAL + b" folded\r\n", False),
        (USUAL + b"X: a\nb\r\n", False),
        (USUAL + b"X: \x00\r\n", False),
        (USUAL + b"X" * 3000 + b": y\r\n", False),
    ],
)
def test_only_heads_that_say_nothing_special_are_the_lane_s(block: bytes, plain: bool) -> None:
    """Bodies, proxies, closing, prefetches and anything odd go to aiohttp."""
    assert is_plain(block) is plain
