"""What systemd hears of a service, on a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest
from aiohttp import web

from wire.notify import Notifier, message
from wire.web import serve_until_stopped


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """systemd's end, in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel picks a name
        sock.settimeout(5)
        yield sock


def environment(sock: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": "@" + sock.getsockname()[1:].decode(), **more}


def test_a_message_is_lines_and_a_value_never_makes_another() -> None:
    """A status with a line break cannot smuggle a state in."""
    assert message({"READY": 1, "STATUS": "fine\nSTOPPING=1"}) == b"READY=1\nSTATUS=fine STOPPING=1"


def test_states_reach_the_manager(manager: socket.socket) -> None:
    """READY, RELOADING with the time it needs, STOPPING with more patience asked for."""
    told = Notifier.from_environment(environment(manager), 1)
    told.ready("serving")
    assert manager.recv(100) == b"READY=1\nSTATUS=serving"
    told.reloading("r")
    assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    told.stopping("s", 1.5)
    assert manager.recv(100) == b"STOPPING=1\nSTATUS=s\nEXTEND_TIMEOUT_USEC=1500000"


async def test_the_watchdog_is_fed_only_while_all_is_well(manager: socket.socket) -> None:
    """Three times a period; silence when something is wrong."""
    well = True
    told = Notifier.from_environment(environment(manager, WATCHDOG_USEC="150000"), 1)
    manager.setblocking(False)
    feeding = asyncio.create_task(told.feed(lambda: well))
    await asyncio.sleep(0.4)
    assert manager.recv(100) == b"WATCHDOG=1"
    well = False
    await asyncio.sleep(0.1)
    with pytest.raises(BlockingIOError):
        while True:
            manager.recv(100)
    await asyncio.sleep(0.3)
    with pytest.raises(BlockingIOError):
        manager.recv(100)
    feeding.cancel()


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "100"}, {"NOTIFY_SOCKET": "/none"}])
async def test_without_systemd_nothing_happens(environ: dict[str, str]) -> None:
    """No socket, or one that is gone: the service does not mind."""
    told = Notifier.from_environment(environ, 1)
    told.ready("serving")
    await asyncio.wait_for(told.feed(), 1)


def test_a_watchdog_for_another_process_is_not_ours(manager: socket.socket) -> None:
    """WATCHDOG_PID names somebody else."""
    environ = environment(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID="2")
    assert Notifier.from_environment(environ, 1).watchdog_s == 0
    assert Notifier.from_environment(environ, 2).watchdog_s == 1.0


async def test_an_http_service_tells_when_it_listens_and_when_it_stops(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """steering and fill: READY after the listeners are open, STOPPING on SIGTERM."""
    monkeypatch.setenv("NOTIFY_SOCKET", environment(manager)["NOTIFY_SOCKET"])
    serving = asyncio.create_task(serve_until_stopped({"127.0.0.1:0": web.Application()}))
    assert (await asyncio.to_thread(manager.recv, 100)).startswith(b"READY=1\n")
    os.kill(os.getpid(), signal.SIGTERM)
    assert (await asyncio.to_thread(manager.recv, 100)).startswith(b"STOPPING=1\n")
    await serving
