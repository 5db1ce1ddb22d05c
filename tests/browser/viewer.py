"""People watching in Chromium: they open players' pages and note who was asked what, and when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from aiohttp import web
from playwright.async_api import Error, Page, Response, async_playwright

PAGES = Path(__file__).parent / "pages"
PLAYERS = Path(__file__).parents[2] / "deploy" / "demo" / "players" / "node_modules"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


@dataclass(frozen=True)
class Got:
    """One answer that the player received: monotonic seconds of question and answer by the
    browser's own clock (a busy machine tells us of both later), status, host and path."""

    asked_s: float
    at_s: float
    status: int
    host: str
    path: str

    @property
    def is_segment(self) -> bool:
        return self.path.endswith(".m4s") and self.status in (200, 206)


@dataclass(frozen=True)
class Told:
    """What steering told a player: asked and answered when (as in Got), at which URL, and what."""

    asked_s: float
    at_s: float
    url: str
    text: str

    @property
    def priorities(self) -> list[str]:
        """The pathways of a steering manifest, best first; none in any other answer."""
        if "/v1/steering/" not in self.url:
            return []
        found: list[str] = json.loads(self.text)["PATHWAY-PRIORITY"]
        return found

    @property
    def current(self) -> str:
        """Where the player said it was, last; empty where it did not say."""
        said = parse_qs(urlsplit(self.url).query)
        hints = [
            value for key, values in said.items() if key.endswith("_pathway") for value in values
        ]
        return hints[-1].strip('"').rpartition(",")[2] if hints else ""


@dataclass
class Viewer:
    """One open page: everything it got so far, and where its film is."""

    name: str
    page: Page
    got: list[Got] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    reading: set[asyncio.Task[None]] = field(default_factory=set)

    def listen(self) -> None:
        """Note what the page gets from now on."""
        self.page.on("response", self._note)

    def _note(self, response: Response) -> None:
        (asked_s, at_s), parts = _times(response), urlsplit(response.url)
        host, path = parts.hostname or "", parts.path
        self.got.append(Got(asked_s, at_s, response.status, host, path))
        if path.startswith("/v1/") and response.status == 200:
            self.reading.add(asyncio.create_task(self._read(response, asked_s, at_s)))

    async def _read(self, response: Response, asked_s: float, at_s: float) -> None:
        with contextlib.suppress(Error):  # the page may be gone
            self.told.append(Told(asked_s, at_s, response.url, await response.text()))

    async def position_s(self) -> float:
        """Where the film is."""
        return float(await self.page.evaluate("document.getElementById('video').currentTime"))

    async def errors(self) -> list[str]:
        """What the player complained about."""
        found: list[str] = await self.page.evaluate("window.errors")
        return found

    def segment_hosts(self, since_s: float = 0.0) -> list[str]:
        """Which host served each segment since a moment (monotonic seconds), in order."""
        return [got.host for got in self.got if got.is_segment and got.asked_s >= since_s]

    def asked(self, path_part: str, since_s: float = 0.0) -> list[Got]:
        """The answers whose path contains `path_part`."""
        return [got for got in self.got if path_part in got.path and got.asked_s >= since_s]


def _times(response: Response) -> tuple[float, float]:
    """When the browser began to ask and was answered, in our monotonic seconds."""
    timing = response.request.timing
    asked_s = timing["startTime"] / 1000 - time.time() + time.monotonic()
    return asked_s, asked_s + max(0.0, timing["responseStart"] / 1000)


def chromium_path() -> str:
    """Debian's browser; the set-up installs it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    raise AssertionError("no Chromium here: run `make test`, or install Debian's chromium")


@asynccontextmanager
async def pages(host: str) -> AsyncIterator[str]:
    """Serve the test pages and the players' scripts on `host`; yields the base URL."""
    app = web.Application()
    app.router.add_static("/players", PLAYERS)
    app.router.add_static("/", PAGES)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        addresses: list[Any] = runner.addresses
        yield f"http://{host}:{addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def audience(urls: Mapping[str, tuple[str, str]]) -> AsyncIterator[list[Viewer]]:
    """One browser in which each viewer (by name) has a profile of its own, and has opened a
    player's page on a film: (page's URL, film's URL)."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=list(FLAGS)
        )
        try:
            viewers = []
            for name, (page_url, film_url) in urls.items():
                context = await browser.new_context()
                viewer = Viewer(name, await context.new_page())
                viewer.listen()
                await viewer.page.goto(f"{page_url}?src={quote(film_url, safe='')}")
                viewers.append(viewer)
            yield viewers
        finally:
            await browser.close()
