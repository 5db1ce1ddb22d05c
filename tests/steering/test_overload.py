"""A real replica under more than it can do: what can wait is refused first, players never lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from steering.limiter import Kind
from tests.steering.replica import IN_A, Replica, running

HEAD = b" HTTP/1.1\r\nHost: steering.example\r\n\r\n"
STEER = b"GET /v1/steer?asset=1" + HEAD
# Both in words that the fast lane leaves to aiohttp, so that they stand in one queue.
ASKED = STEER.replace(b"asset=1", b"asset=1&x=1")
PREFETCH = STEER.replace(b"\r\n\r\n", b"\r\nSec-Purpose: prefetch\r\n\r\n")
STEERING = "/v1/steering/hls?title=film&pathways=a2,a1,origin"
ON_A1 = STEERING + "&_HLS_pathway=a1"
AT_ONCE, CLIENTS = 40, 16


@contextlib.asynccontextmanager
async def flood(replica: Replica, request: bytes) -> AsyncIterator[Counter[int]]:
    """Clients that ask AT_ONCE times before they read, for ever; statuses as they come."""
    seen: Counter[int] = Counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", replica.public_port, local_addr=(IN_A, 0)
        )
        with contextlib.closing(writer):
            while True:
                writer.write(request * AT_ONCE)
                for _ in range(AT_ONCE):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                    await reader.readexactly(length)
                    seen[int(head.split()[1])] += 1
                    assert b" 503 " not in head or b"Retry-After: " in head

    tasks = [asyncio.create_task(one()) for _ in range(CLIENTS)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        for found in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(found, asyncio.CancelledError), found


async def test_overload_refuses_explanations_and_keeps_players_where_they_are(
    tmp_path: Path,
) -> None:
    """Steering manifests stay 200 with a longer TTL, never 429; the rest is told when to come back;
    when the flood is over everybody is answered as before."""
    async with running(tmp_path, queue_s=0.001) as replica:
        for name in ("a1", "a2"):
            await replica.report(name)
        kinds: Counter[tuple[str, int]] = Counter()
        ttls: set[int] = set()
        async with flood(replica, STEER) as seen, asyncio.timeout(60):
            while not (kinds["explain", 503] and max(ttls, default=0) > 20 and seen[503]):
                path = f"/v1/explain?client={IN_A}&asset=1"
                kinds["explain", (await replica.get(path, admin=True))[0]] += 1
                status, body = await replica.get(ON_A1)
                assert status == 200 and set(body["PATHWAY-PRIORITY"]) >= {"a1", "a2"}
                assert body["PATHWAY-PRIORITY"][0] == "a1", "where it is, not what is listed first"
                ttls.add(body["TTL"])
        assert seen[200] and set(seen) == {200, 503}
        assert (await replica.get("/v1/steer?asset=1"))[0] == 200
        _, metrics = await replica.get("/metrics", admin=True)
        counts = {
            kind: float(line.split()[-1])
            for line in metrics.splitlines()
            for kind in Kind
            if line.startswith("steering_refused{") and f'"{kind}"' in line
        }
        assert counts[Kind.EXPLAIN] >= 1 and counts[Kind.PLAY] >= 1


async def test_prefetches_are_refused_before_players(tmp_path: Path) -> None:
    """In the same rush a larger share of prefetches is refused than of players' questions."""
    async with running(tmp_path, queue_s=0.001) as replica:
        await replica.report("a1")
        async with flood(replica, PREFETCH) as early, flood(replica, ASKED) as players:
            async with asyncio.timeout(60):
                while not (early[503] > 1000 and players[200] > 1000):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)
            assert early[200] / early.total() < players[200] / players.total()


async def test_replica_answers_while_everything_around_it_is_dead(tmp_path: Path) -> None:
    """Fill, origin and every box gone: manifests, JSON and steering go on from memory and disk."""
    async with running(tmp_path) as replica:
        for name in ("a1", "a2", "b1"):
            await replica.report(name)
        paths = ("/v1/steer?asset=1", "/v1/play/film.m3u8", STEERING)
        before = [await replica.get(path) for path in paths]
        assert [status for status, _ in before] == [200, 200, 200]
        await replica.backstage.stop()
        for _ in range(3):
            after = [await replica.get(path) for path in paths]
            assert [status for status, _ in after] == [200, 200, 200]
            assert after[0][1]["places"] == before[0][1]["places"]
        assert json.dumps(after[2][1]["PATHWAY-PRIORITY"])
