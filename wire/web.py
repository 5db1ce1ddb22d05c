"""How our HTTP APIs behave, whoever offers them: problem+json, bounded bodies, signed callers.

An adapter over aiohttp's server, shared so that every service answers errors the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
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
IDLE_S = 75.0  # longer than balancers keep a connection; a head that comes slower has no end
BODY_S_MAX = 60.0  # 32 MB on a poor line; what takes longer is held back on purpose
SHUTDOWN_S = 5.0  # control answers are short; whoever is still writing after this is gone
UNPROVEN_BYTES_MAX = 64 * 1024  # what is read of a stranger's body, whose signature covers it
_log = get("web")
_refusals, _faults = Bounded("web"), Bounded("web", 5)
_FRAMING = "the body is not as its headers say: chunks, lengths, coding (RFC 9112 §7)"
_QUOTED = re.compile(r":\s*(?:b['\"]|bytearray|$)|\n")
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


def _tell_refusal(request: web.BaseRequest, why: str) -> None:
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
    try:
        async with asyncio.timeout(BODY_S_MAX):
            body = await request.read()
    except TimeoutError as exc:
        raise WireError(what, "", f"it did not come within {BODY_S_MAX:g} s") from exc
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
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_S)
    running.push_async_callback(runner.cleanup)
    await runner.setup()
    server, loop = runner.server, asyncio.get_running_loop()
    if server is None:
        raise OcaError("aiohttp made no server")

    def connection() -> asyncio.Protocol:
        return _Connection(server, loop)

    listening = await loop.create_server(
        connection if front is None else lambda: front(connection),
        host,
        port,
        reuse_address=True,
        backlog=BACKLOG,
    )
    running.callback(listening.close)


class _Connection(web.RequestHandler):
    """aiohttp's protocol, whose own refusals (of what is no HTTP) are problem documents, too."""

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        # A compressed body would be unpacked, a thousandfold, before anybody asked whose it is.
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own word for none
            auto_decompress=False,
            keepalive_timeout=IDLE_S,
        )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be read, or a fault of ours, and close."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        detail = "" if status == 500 else _first_words(message or "")
        if status == 500:
            _faults.error("fault", path=request.path[:PATH_CHARS_MAX], exc_info=exc)
        else:
            _tell_refusal(request, detail)
        title = HTTPStatus(status).phrase
        field = "" if status == 500 else "head"
        made = problem_response(Problem(status=status, title=title, detail=detail, field=field))
        made.force_close()
        return made

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; one that aiohttp made before our handlers is a problem as well."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            told = _first_words(resp.text or "")
            resp = problem_response(Problem(status=resp.status, title=resp.reason, detail=told))
        return await super().finish_response(request, resp, start_time)


def _first_words(message: str) -> str:
    """What a parser says, without what it quotes of a stranger's bytes."""
    return _QUOTED.split(message, maxsplit=1)[0].strip(" :")[:PATH_CHARS_MAX]
