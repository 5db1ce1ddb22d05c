"""One evening that four players watch at once: steered away, steered to a box that their manifest
does not list, left alone, and bereaved of the box that serves them. Told as it went; tests judge.

Release builds of Shaka cannot clone (docs/PLAYERS.md), so it is not waited for where others do.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.demo.processes import Crew
from tests.browser.media import TITLE, make_film
from tests.browser.viewer import Got, Viewer, audience, pages
from tests.e2e.lab import ORIGIN, ORIGIN_HOST, Box, Lab, Site

TTL_S = 2
PLAYERS = {
    "hls.js": ("hls.html", "m3u8"),
    "dash.js": ("dash.html", "mpd"),
    "shaka-hls": ("shaka.html", "m3u8"),
    "shaka-dash": ("shaka.html", "mpd"),
}
CLONERS = ("hls.js", "dash.js")
WATCHED_AFTER_S = 7  # further than any buffer reaches, so the next box must have served
STAGE_S = 60.0  # much more than any stage takes; a busy machine gets it
MISSED_MAX = 15  # heartbeats: a busy machine's boxes are not to fall silent, it is not the subject
BOXES = tuple(Box(name, "isp-a", f"127.11.1.{n}", 10**9) for n, name in enumerate("abc", start=1))
HOSTS = {box.id: box.host for box in BOXES} | {ORIGIN: ORIGIN_HOST}

Reached = Callable[[Viewer, float], Awaitable[bool]]
"""Whether a viewer has come to something, since a moment (monotonic seconds)."""


@dataclass
class Stage:
    """One thing that was done: when (monotonic seconds), which box played a part, and who of the
    viewers came to what was waited for, and when."""

    at_s: float
    box: str
    reached: dict[str, float] = field(default_factory=dict)


@dataclass
class Evening:
    """What happened. `listed` and `clone`: pathways in the manifests, and the box that is in none.
    `complaints`: what players said; `logged`: segments that the clone says it served."""

    listed: list[str]
    clone: str
    drained: Stage
    cloned: Stage
    left_alone: Stage
    died: Stage
    viewers: dict[str, Viewer]
    complaints: dict[str, list[str]]
    logged: int


@contextmanager
def world(folder: Path) -> Iterator[Lab]:
    """Three boxes inside the viewers' ISP, all with the whole film; manifests list two of them."""
    media = folder / "media"
    make_film(media)
    with Crew(folder / "logs") as crew:
        sites = (Site("isp-a", "embedded", ("127.0.0.0/16",)),)
        policy = {"ttl_s": TTL_S, "pathways": 2}
        lab = Lab(folder, media, sites, BOXES, crew, {"away_share": 0.9}, policy, MISSED_MAX)
        lab.start()
        films = [asset for asset in lab.catalogue().assets if asset.kind != "manifest"]
        lab.demand(("isp-a", asset.id, 50 * asset.bytes) for asset in films)
        lab.plan()
        wanted = {asset.id for asset in films}
        lab.wait(lambda: all(lab.held(box) == wanted for box in BOXES), 60, "the film everywhere")
        lab.wait(lambda: lab.all_fresh() and lab.known_held(), 60, "steering knows who holds it")
        lab.wait(lambda: len(_boxes_in(_manifest(lab))) == 2, 60, "two boxes with room for viewers")
        yield lab


async def watch(lab: Lab) -> Evening:
    """Open the four players, and let it happen."""
    async with pages("127.0.0.1") as base:
        urls = {
            name: (f"{base}/{page}", f"http://{lab.steering}/v1/play/{TITLE}.{suffix}")
            for name, (page, suffix) in PLAYERS.items()
        }
        async with audience(urls) as viewers:
            return await _live(lab, viewers)


async def _live(lab: Lab, viewers: list[Viewer]) -> Evening:
    await _until(viewers, Stage(0, ""), _played(2))
    listed = _listed(viewers[0])
    clone = next(box.id for box in BOXES if box.id not in listed)
    _drain(lab, listed[0])
    drained = await _until(viewers, _now(listed[0]), _served_by(listed[1]))
    _drain(lab, listed[1])
    cloners = [viewer for viewer in viewers if viewer.name in CLONERS]
    others = [viewer for viewer in viewers if viewer.name not in CLONERS]
    cloned = await _until(cloners, _now(listed[1]), _served_by(clone))
    cloned = await _until(others, cloned, _served_by(ORIGIN))
    left_alone = _now(clone)
    _drain(lab, listed[0], "DELETE")
    await _until(others, left_alone, _served_by(listed[0]))
    _drain(lab, listed[1], "DELETE")
    left_alone = await _until(cloners, left_alone, _told_of(listed[1]))
    await asyncio.gather(*(task for viewer in viewers for task in viewer.reading))
    logged = await _logged(lab, clone, len(_got_from(clone, viewers)))
    died = _now(clone)
    for box in (clone, listed[0]):
        lab.crew.processes[box].kill()
    at_s = {viewer.name: await viewer.position_s() for viewer in viewers}
    died = await _until(viewers, died, _came_from(at_s, listed[1]))
    complaints = {viewer.name: await viewer.errors() for viewer in viewers}
    kept = {viewer.name: viewer for viewer in viewers}
    return Evening(listed, clone, drained, cloned, left_alone, died, kept, complaints, logged)


def _now(box: str) -> Stage:
    return Stage(time.monotonic(), box)


async def _until(viewers: list[Viewer], stage: Stage, reached: Reached) -> Stage:
    """Note when each viewer came to it; go on when all have, or after STAGE_S."""
    deadline_s = time.monotonic() + STAGE_S
    while (
        not {viewer.name for viewer in viewers} <= set(stage.reached)
        and time.monotonic() < deadline_s
    ):
        for viewer in viewers:
            if viewer.name not in stage.reached and await reached(viewer, stage.at_s):
                stage.reached[viewer.name] = time.monotonic()
        await asyncio.sleep(0.1)
    return stage


def _played(position_s: float) -> Reached:
    """The film has come so far."""

    async def reached(viewer: Viewer, _: float) -> bool:
        return await viewer.position_s() >= position_s

    return reached


def _served_by(box: str) -> Reached:
    """A segment came from that box that was asked for since."""
    host = HOSTS[box]

    async def reached(viewer: Viewer, since_s: float) -> bool:
        return host in viewer.segment_hosts(since_s)

    return reached


def _told_of(box: str) -> Reached:
    """Steering named the box in an answer, and a segment was asked for afterwards."""

    async def reached(viewer: Viewer, since_s: float) -> bool:
        told_s = [one.at_s for one in viewer.told if one.at_s > since_s and box in one.priorities]
        return bool(told_s and viewer.segment_hosts(told_s[0]))

    return reached


def _came_from(positions_s: dict[str, float], box: str) -> Reached:
    """The film went on, further than any buffer reaches, and in the end from that box."""

    async def reached(viewer: Viewer, since_s: float) -> bool:
        went_on = await viewer.position_s() >= positions_s[viewer.name] + WATCHED_AFTER_S
        return went_on and viewer.segment_hosts(since_s)[-1:] == [HOSTS[box]]

    return reached


def _listed(viewer: Viewer) -> list[str]:
    """The boxes in a viewer's manifest, best first, as the steering URL in it says."""
    return _boxes_in(next(one.text for one in viewer.told if "/v1/play/" in one.url))


def _manifest(lab: Lab) -> str:
    """What a player would be given now; nothing while nobody may serve."""
    url = f"http://{lab.steering}/v1/play/{TITLE}.m3u8"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError:
        return "pathways="


def _boxes_in(text: str) -> list[str]:
    found = re.search(r"pathways=([a-z,]*)", text)
    if found is None:
        raise AssertionError(f"no steering in {text}")
    return [name for name in found[1].split(",") if name not in ("", ORIGIN)]


def _drain(lab: Lab, box: str, method: str = "POST") -> None:
    url = f"http://{lab.admin}/v1/drain/{box}"
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10):
        pass


def _got_from(box: str, viewers: list[Viewer]) -> list[Got]:
    return [
        got for viewer in viewers for got in viewer.got if got.is_segment and got.host == HOSTS[box]
    ]


async def _logged(lab: Lab, box: str, expected: int) -> int:
    """How many segments a box says it has served, by its own access log, which is written a little
    later: once it says as many as expected, or after STAGE_S."""
    file, deadline_s = lab.folder / box / "access.log", time.monotonic() + STAGE_S
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        count = sum(".m4s" in json.loads(line)["request"] for line in lines)
        if count >= expected or time.monotonic() > deadline_s:
            return count
        await asyncio.sleep(0.1)
