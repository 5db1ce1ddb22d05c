"""A person watching in Chromium: opens a player's page, notes what was asked from whom, when."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web
from playwright.async_api import Page, Response, async_playwright

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
)


@dataclass(frozen=True)
class Got:
    """One answer that the player received: monotonic seconds, status, host and path."""

    at_s: float
    status: int
    host: str
    path: str

    @property
    def is_segment(self) -> bool:
        return self.path.endswith(".m4s") and self.status in (200, 206)


@dataclass
class Viewer:
    """One open page: everything it got so far, and where its film is."""

    page: Page
    got: list[Got] = field(default_factory=list)

    def note(self, response: Response) -> None:
        parts = urlsplit(response.url)
        self.got.append(Got(time.monotonic(), response.status, parts.hostname or "", parts.path))

    async def position_s(self) -> float:
        """Where the film is."""
        return float(await self.page.evaluate("document.getElementById('video').currentTime"))

    async def errors(self) -> list[str]:
        """What the player complained about."""
        found: list[str] = await self.page.evaluate("window.errors")
        return found

    async def watch_until(self, position_s: float, within_s: float) -> None:
        """Wait until the film has come to `position_s`; an AssertionError tells where it stuck."""
        deadline = time.monotonic() + within_s
        while (at_s := await self.position_s()) < position_s:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"the film stands at {at_s:.1f} s, not at {position_s} s; "
                    f"errors: {await self.errors()}; last: {self.got[-8:]}"
                )
            await asyncio.sleep(0.2)

    def segment_hosts(self, since_s: float = 0.0) -> list[str]:
        """Which host served each segment since a moment (monotonic seconds), in order."""
        return [got.host for got in self.got if got.is_segment and got.at_s >= since_s]

    def asked(self, path_part: str, since_s: float = 0.0) -> list[Got]:
        """The answers whose path contains `path_part`."""
        return [got for got in self.got if path_part in got.path and got.at_s >= since_s]


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
async def watching(page_url: str, film_url: str) -> AsyncIterator[Viewer]:
    """A browser that has opened the player's page on a film."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=list(FLAGS)
        )
        try:
            viewer = Viewer(await browser.new_page())
            viewer.page.on("response", viewer.note)
            await viewer.page.goto(f"{page_url}?src={quote(film_url, safe='')}")
            yield viewer
        finally:
            await browser.close()
