"""Real players in a real browser play through steering, and survive the death of their box."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.demo.encode import encode_films, ffmpeg_path, find_font
from deploy.demo.films import FILMS
from deploy.demo.processes import Crew
from tests.browser.viewer import Viewer, pages, watching
from tests.e2e.lab import Box, Lab, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

FILM_S = 72
WATCHED_AFTER_S = 14  # further than any buffer reaches, so the next box must have served


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One short film as the demo encodes it: three renditions and sound."""
    folder = tmp_path_factory.mktemp("media")
    film = replace(FILMS[1], duration_s=FILM_S)
    ffmpeg = ffmpeg_path()
    asyncio.run(encode_films(ffmpeg, find_font(ffmpeg), (film,), folder, lambda title, share: None))
    return folder


@pytest.fixture
def lab(tmp_path: Path, media: Path) -> Iterator[Lab]:
    """Two boxes inside the browser's ISP and one at an exchange; all hold the film."""
    sites = (Site("isp-a", "embedded", ("127.0.0.0/16",)), Site("ix", "ix", ("127.0.0.0/16",)))
    boxes = (
        Box("a1", "isp-a", "127.11.1.1", 10**9),
        Box("a2", "isp-a", "127.11.1.2", 10**9),
        Box("x1", "ix", "127.13.1.1", 10**9),
    )
    with Crew(tmp_path / "logs") as crew:
        lab = Lab(tmp_path, media, sites, boxes, crew, {"away_share": 0.5})
        lab.start()
        assets = [asset for asset in lab.catalogue().assets if asset.kind != "manifest"]
        lab.demand(
            (home, asset.id, 50 * asset.bytes) for home in ("isp-a", "ix") for asset in assets
        )
        lab.plan()
        wanted = {asset.id for asset in assets}
        lab.wait(lambda: all(lab.held(box) == wanted for box in boxes), 30, "the film everywhere")
        lab.wait(lab.all_fresh, 10, "every box seen by steering")
        lab.wait(lab.known_held, 5, "steering knows what the boxes hold")
        yield lab


async def play_through_a_death(lab: Lab, page: str, film: str) -> tuple[Viewer, str, float]:
    """Watch, kill the box that serves, watch on; the viewer, who died, and when."""
    async with pages("127.0.0.1") as base, watching(f"{base}/{page}", film) as viewer:
        await viewer.watch_until(4, 40)
        host = viewer.segment_hosts()[-1]
        dead = next(box for box in lab.everyone if box.host == host)
        lab.crew.processes[dead.id].kill()
        died_s = time.monotonic()
        await viewer.watch_until(await viewer.position_s() + WATCHED_AFTER_S, 50)
        return viewer, dead.id, died_s


@pytest.mark.parametrize(
    ("page", "suffix", "surface"),
    [("hls.html", "m3u8", "/v1/steering/hls"), ("dash.html", "mpd", "/v1/steering/dash")],
    ids=["hls.js", "dash.js"],
)
async def test_a_player_survives_the_death_of_its_appliance(
    lab: Lab, page: str, suffix: str, surface: str
) -> None:
    """It asked steering, its segments came from the next box afterwards, and time went on."""
    film = f"http://{lab.steering}/v1/play/{FILMS[1].title}.{suffix}"
    viewer, dead, died_s = await play_through_a_death(lab, page, film)
    dead_host = next(box.host for box in lab.everyone if box.id == dead)
    assert dead in {"a1", "a2"}, "the first choice is inside the viewer's own ISP"
    assert [got for got in viewer.asked(surface) if got.status == 200]
    later = set(viewer.segment_hosts(died_s + 3))
    assert later and dead_host not in later
    assert later <= {box.host for box in lab.boxes}, "the origin is the last resort"
