"""How the commands ask a running replica, and print for people. An adapter."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TypeVar

import aiohttp
import click
from rich.console import Console

from steering.loading import Loaded, load
from wire.codec import decode
from wire.errors import OcaError
from wire.problem import Problem

T = TypeVar("T")
ADMIN_URL = "http://127.0.0.1:9481"
ANSWER_S = 10.0
PAGE_COLUMNS = 160


def load_or_say(path: Path) -> Loaded:
    """A configuration, checked; raises ClickException with a sentence when something is wrong."""
    try:
        return load(path)
    except OcaError as exc:
        raise click.ClickException(str(exc)) from exc


def ask(kind: type[T], url: str, method: str = "GET", body: bytes | None = None) -> T:
    """A typed answer of a running replica; raises ClickException saying what went wrong.
    `url` may leave out `http://`, as configurations do."""
    url = url if "://" in url else f"http://{url}"
    status, answer = asyncio.run(_ask(url, method, body))
    try:
        if status != 200:
            problem = decode(Problem, answer, "answer")
            field = f"{problem.field}: " if problem.field else ""
            raise click.ClickException(f"{field}{problem.detail or problem.title} ({status})")
        return decode(kind, answer, "answer")
    except OcaError as exc:
        raise click.ClickException(f"{url} is not steering's admin listener: {exc}") from exc


def console() -> Console:
    """As wide as the terminal; wide enough for a whole row where there is none."""
    return Console(width=None if sys.stdout.isatty() else PAGE_COLUMNS)


async def _ask(url: str, method: str, body: bytes | None) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, url, data=body) as answer,
        ):
            return answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
        raise click.ClickException(
            f"no answer from {url}: is `steering serve` running, and is --admin right? ({exc})"
        ) from exc
