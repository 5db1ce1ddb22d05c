"""How our HTTP APIs behave, whoever offers them: problem+json, bounded bodies, signed callers.

An adapter over aiohttp's server, shared so that every service answers errors the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiohttp import web

from wire.auth import Caller, authenticate, check_before_body
from wire.codec import decode, encode
from wire.errors import OcaError, WireError
from wire.keys import VerifyKey
from wire.log import Bounded, client_prefix, get
from wire.notify import notifier
from wire.problem import PROBLEM_TYPE, Problem, problem_of

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BACKLOG = 1024  # connections that wait for a busy loop; the kernel turns away what is more
SHUTDOWN_S = 5.0  # control answers are short; whoever is still writing after this is gone
UNPROVEN_BYTES_MAX = 64 * 1024  # what is read of a stranger's body, whose signature covers it
_log = get("web")
_refusals, _faults = Bounded("web"), Bounded("web", 5)
_FRAMING = "the body is not as its headers say: chunks, lengths, coding (RFC 9112 §7)"
PATH_CHARS_MAX = 256  # of a stranger\'s text in a line of the log


def problem_response(problem: Problem) -> web.Response:
    """An RFC 9457 answer, with Retry-After where the problem has one; readable across origins."""
    headers = {"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"}
    if problem.retry_after_s:
        headers["Retry-After"] = str(problem.retry_after_s)
    return web.Response(
        status=problem.status, body=encode(problem), content_type=PROBLEM_TYPE, headers=headers
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem document; a fault of ours is logged whole, told briefly."""
    try:
        return await handler(request)
    except OcaError as exc:
        if exc.status in (401, 403):
            _tell_refusal(request, str(exc))
        return problem_response(problem_of(exc))
    except web.RequestPayloadError:
        return problem_response(Problem(status=400, title="Bad Request", detail=_FRAMING))
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        allow = exc.headers.get("Allow")
        response = problem_response(Problem(status=exc.status, title=exc.reason))
        if allow:
            response.headers["Allow"] = allow
        return response
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        _faults.exception("fault", path=request.path[:PATH_CHARS_MAX])
        return problem_response(Problem(status=500, title="Internal Server Error"))


def _tell_refusal(request: web.Request, why: str) -> None:
    told = _refusals.warning(
        "refused",
        path=request.path[:PATH_CHARS_MAX],
        peer=client_prefix(request.remote),
        why=why[:PATH_CHARS_MAX],
    )
    if not told and _refusals.left_out == 1:
        asyncio.get_running_loop().call_later(1.0, _refusals.flush)


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] = {}
) -> web.Response:
    """A wire value as JSON, never cached unless `headers` say so."""
    own = {"Cache-Control": "no-store", **headers}
    return web.Response(
        status=status, body=encode(value), content_type="application/json", headers=own
    )


async def read_signed(
    request: web.Request, kind: type[T], keys: Mapping[str, VerifyKey], audience: str, what: str
) -> tuple[Caller, T]:
    """The caller and the typed body of a signed request; raises AuthError or WireError.

    The signature is checked before the body is parsed, and before a large one is read.
    """
    length = request.content_length
    if length is None or length > UNPROVEN_BYTES_MAX:
        header = request.headers.get("Authorization", "")
        check_before_body(header, keys, audience, time.time())
    body = await request.read()
    caller = caller_of(request, keys, audience, body)
    return caller, decode(kind, body, what)


def caller_of(
    request: web.Request, keys: Mapping[str, VerifyKey], audience: str, body: bytes = b""
) -> Caller:
    """Who signed this request; raises AuthError."""
    header = request.headers.get("Authorization", "")
    return authenticate(header, keys, audience, time.time(), body)


def listen_address(text: str, what: str) -> tuple[str, int]:
    """`HOST:PORT` or `[V6]:PORT` as a pair; raises WireError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise WireError(what, "", f"{text!r} is not HOST:PORT", hint="such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


Front = Callable[[Callable[[], asyncio.Protocol]], asyncio.Protocol]
"""Makes the protocol of a new connection, given what makes aiohttp's."""


async def serve_until_stopped(
    listeners: Mapping[str, web.Application], fronts: Mapping[str, Front] = {}
) -> None:
    """Start → serve → drain → stop: each `HOST:PORT` with its application, until SIGTERM/SIGINT.

    `fronts`: protocols that stand before the application of a listener, and may hand a connection
    on to it. systemd is told, and its watchdog fed while the loop turns.
    """
    told = notifier()
    feeding = asyncio.create_task(told.feed())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with contextlib.AsyncExitStack() as running:
        running.callback(feeding.cancel)
        for address, app in listeners.items():
            await _listen(running, address, app, fronts.get(address))
            _log.info("listening", address=address)
        told.ready("serving")
        await stop.wait()
        _log.info("stopping")
        told.stopping("stopping", 2 * SHUTDOWN_S)


async def _listen(
    running: contextlib.AsyncExitStack, address: str, app: web.Application, front: Front | None
) -> None:
    host, port = listen_address(address, "listen")
    # A compressed body would be unpacked, a thousandfold, before anybody asked whose it is.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, auto_decompress=False)
    running.push_async_callback(runner.cleanup)
    await runner.setup()
    server = runner.server
    if front is None or server is None:
        await web.TCPSite(runner, host, port, reuse_address=True, backlog=BACKLOG).start()
        return
    listening = await asyncio.get_running_loop().create_server(
        lambda: front(server), host, port, reuse_address=True, backlog=BACKLOG
    )
    running.callback(listening.close)
