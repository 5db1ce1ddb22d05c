"""Fill behind a certificate of the operator's own CA: believed when the box is told of it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from oca.agent.main import run
from tests.oca.agent.world import World, eventually
from tests.oca.test_tls import make_certificate
from wire.errors import WireError


async def test_only_who_has_a_certificate_of_the_ca_is_believed(tmp_path: Path) -> None:
    """With `tls_ca` the plan comes; without, nothing is taken from a server nobody knows."""
    world = World(tmp_path)
    make_certificate("localhost", tmp_path / "ca.pem", tmp_path / "key.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    runner = web.AppRunner(world.fill.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    world.settings["agent"]["fill"] = f"https://localhost:{runner.addresses[0][1]}"
    world.fill.publish(world.plan(1, ()))
    accepted = world.run_dir / "plan.jws"
    try:
        async with world.agent():
            await asyncio.sleep(1.0)
            assert not accepted.exists()
        world.settings["agent"]["tls_ca"] = str(tmp_path / "ca.pem")
        async with world.agent():
            await eventually(accepted.exists, 20)
    finally:
        await runner.cleanup()


async def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    """The operator is told which."""
    world = World(tmp_path)
    (tmp_path / "none.pem").write_text("hello")
    world.settings["agent"]["tls_ca"] = str(tmp_path / "none.pem")
    with pytest.raises(WireError, match=r"none\.pem"):
        await run(world.config(), asyncio.Event())
