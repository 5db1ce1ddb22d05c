"""Real appliances whose policy is `redirect` beside a real replica: a dumb client gets its file."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import aiohttp

from tests.oca.running import Oca, serving
from tests.oca.test_appliance import Box
from tests.steering.replica import HOSTS, IN_A, Replica, running
from wire.keys import public_text

FILE = "master.m3u8"  # the pretended origin has it


async def test_boxes_that_lost_an_asset_send_on_until_somebody_has_it(tmp_path: Path) -> None:
    """Steering believes that both boxes hold it. Neither does: each is asked once, then the origin.
    When one has it, it serves; nobody is ever sent back to where he was."""
    async with running(tmp_path) as replica:
        await replica.report("a1")
        await replica.report("a2")
        with contextlib.ExitStack() as stack:
            boxes = {name: Box(tmp_path / name) for name in ("a1", "a2")}
            for name, box in boxes.items():
                await asyncio.to_thread(stack.enter_context, appliance(replica, name, box))
            visited, body = await follow(f"{replica.url}/v1/redirect/a/2/{FILE}?CMCD=bl%3D1")
            assert body.startswith(b"#EXTM3U")
            hosts = [host for host in visited if host != "127.0.0.1"]
            assert sorted(hosts) == [HOSTS["a1"], HOSTS["a2"]], visited
            last = hosts[-1]
            (name,) = [name for name in boxes if HOSTS[name] == last]
            boxes[name].put(2, {FILE: b"mine"})
            boxes[name].tell(("127.16.0.0/16",))
            visited, body = await follow(f"{replica.url}/v1/redirect/a/2/{FILE}")
            assert body == b"mine" and visited[-1] == last and visited.count(last) == 1


def appliance(replica: Replica, name: str, box: Box) -> contextlib.AbstractContextManager[Oca]:
    """A real one, at its place in the fleet file."""
    host, port = HOSTS[name], replica.backstage.origin_port
    file = box.config(
        id=f'"{name}"',
        listen=f'"{host}:{port}"',
        token_keys=f'{{ k1 = "{public_text(replica.token_key)}" }}',
    )
    lines = f'[through]\npolicy = "redirect"\nredirect_url = "{replica.url}/v1/redirect"\n'
    file.write_text(file.read_text() + lines)
    return serving(box.top, "--config", str(file), host=host)


async def follow(url: str) -> tuple[list[str], bytes]:
    """The hosts on the way, and what came in the end."""
    connector = aiohttp.TCPConnector(local_addr=(IN_A, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, max_redirects=20) as answer,
    ):
        body = await answer.read()
        assert answer.status == 200, (answer.url, answer.status, body)
        return [str(one.url.host) for one in (*answer.history, answer)], body
