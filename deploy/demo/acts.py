"""The acts of the story, in order. Each does its part on the stage, shows it, and notes checks."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from deploy.demo import layout, show
from deploy.demo.demand import Session, draw
from deploy.demo.encode import make_media
from deploy.demo.evening import Evening, spend_evening
from deploy.demo.films import AUDIO, FILM_S, FILMS, LADDER
from deploy.demo.fleet import NIGHT_ONE, Run, lay_out
from deploy.demo.processes import Crew
from deploy.demo.stage import Stage, StageError, command, until
from deploy.demo.tally import Bytes, Check
from deploy.demo.truth import Truth, read_truth
from wire.catalogue import Catalogue
from wire.codec import decode
from wire.plan import Plan

EVENING_BYTES = 150_000_000
KILL_AT_S = 20.0
# What the viewers of the films have fetched when the kill comes: that long, and a full buffer.
PLAYED_AT_KILL_S = KILL_AT_S + 9.0
FILL_PATIENCE_S = 60.0


@dataclass(slots=True)
class Story:
    """What the acts share: the console, the run, and what has been noted so far."""

    console: Console
    checks: list[Check] = field(default_factory=list)
    received: Bytes = field(default_factory=Counter)
    before_kill: Bytes = field(default_factory=Counter)
    promised: dict[str, float] = field(default_factory=dict)

    def note(self, name: str, held: bool, figures: str) -> None:
        """Note a check and show it at once."""
        self.checks.append(Check(name, held, figures))
        mark = "[green]✓[/]" if held else "[bold red]✗[/]"
        self.console.print(f"  {mark} {name} [dim]{figures}[/]", highlight=False)

    def act(self, number: int, title: str, words: str) -> None:
        """The heading of an act."""
        self.console.print(f"\n[bold]{number}  {title}[/]\n  [dim]{words}[/]", highlight=False)


def films(story: Story, media: Path) -> Catalogue:
    """Act 1: the films are encoded and catalogued."""
    story.act(
        1, "Two films", "H.264 in three sizes and AAC sound, in CMAF; HLS and DASH over them."
    )
    with show.share_bars(story.console) as bars:
        tasks = {film.title: bars.add_task(film.caption, total=1.0) for film in FILMS}
        made = make_media(media, lambda title, share: bars.update(tasks[title], completed=share))
        for task in tasks.values():
            bars.update(task, completed=1.0)
    command("fill", "catalogue", str(media))
    catalogue = decode(Catalogue, (media / "catalogue.json").read_bytes(), "catalogue")
    titles = catalogue.titles().titles
    total = sum(asset.bytes for asset in catalogue.assets)
    ladders = [sum(a.name in {r.name for r in LADDER} for a in title.assets) for title in titles]
    story.note(
        "two films and 200 synthetic assets are in the catalogue",
        ladders.count(len(LADDER)) == len(FILMS) and len(titles) == len(FILMS) + 200,
        f"{len(titles)} titles, {len(catalogue.assets)} assets, {show.megabytes(total)}"
        + ("" if made else ", encoded before"),
    )
    return catalogue


def curtain_up(story: Story, crew: Crew, folder: Path, media: Path, catalogue: Catalogue) -> Stage:
    """Act 2: keys, fleet, configurations; all processes start."""
    story.act(
        2,
        "A fleet",
        "Origin, fill, steering; two boxes in ISP A, one in ISP B, two at the exchange.",
    )
    yesterday = datetime.datetime.now(tz=datetime.UTC).date() - datetime.timedelta(days=1)
    run = lay_out(folder, media, catalogue, EVENING_BYTES, yesterday.isoformat())
    stage = Stage(run, crew)
    stage.start_all()
    story.note("all processes are up", True, f"{len(crew.processes)} programs")
    shares = [box.disk_share for box in layout.BOXES]
    story.note(
        "no box can hold everything",
        all(0.4 <= share <= 0.6 for share in shares),
        f"disks hold {min(shares):.0%} to {max(shares):.0%} of all bytes",
    )
    return stage


async def night(story: Story, stage: Stage) -> None:
    """Act 3: fill plans from the forecast, and the boxes fetch until they hold their plans."""
    story.act(
        3, "The first night", "fill plans what each box should hold tomorrow; boxes fetch it."
    )
    command("fill", "plan", "--config", str(stage.run.folder / NIGHT_ONE))
    story.promised = stage.planned_offload()
    plans = {box.id: stage.plan_of(box) for box in layout.BOXES}
    sizes = {name: _planned_bytes(plan) for name, plan in plans.items()}
    rows = {name: (len(plan.desired), sizes[name]) for name, plan in plans.items()}
    story.console.print(show.fleet_table(stage.run.total_bytes, rows))
    with show.byte_bars(story.console) as bars:
        task = bars.add_task("filling five boxes", total=sum(sizes.values()))

        def look() -> bool:
            held = {box.id: stage.stored(box) for box in layout.BOXES}
            done = sum(_planned_bytes(plan, held[name]) for name, plan in plans.items())
            bars.update(task, completed=done)
            return stage.all_hold(plans)

        took_s = await until(look, FILL_PATIENCE_S)
    story.note(
        "every box holds all its plan wants, and steering knows",
        took_s is not None,
        f"{show.megabytes(sum(sizes.values()))} in {took_s or FILL_PATIENCE_S:.1f} s",
    )


def _planned_bytes(plan: Plan, held: set[int] | None = None) -> int:
    return sum(one.bytes for one in plan.desired if held is None or one.asset in held)


async def evening(story: Story, stage: Stage, truth: Truth) -> None:
    """Act 4: viewers of both ISPs ask for what the forecast said."""
    story.act(4, "The evening", "Requests drawn from the demand; every byte is checked.")
    sessions = {
        isp.site: draw(
            stage.run.catalogue,
            _without_films(stage.run, isp.site),
            isp.clients,
            f"evening {isp.site}",
        )
        for isp in layout.ISPS
    }
    with show.byte_bars(story.console) as bars:
        evenings = {}
        for isp in layout.ISPS:
            mine = sessions[isp.site]
            task = bars.add_task(f"viewers in {isp.name}", total=_sum(mine))
            evenings[isp.site] = await spend_evening(
                mine, f"http://{layout.STEERING}", truth, partial(bars.advance, task)
            )
    book(story, evenings)
    note_evenings(story, "every request of the evening was served, every byte was right", evenings)


def book(story: Story, evenings: Mapping[str, Evening]) -> None:
    """Enter what the viewers received."""
    for home, one in evenings.items():
        for host, size in one.delivered.items():
            story.received[home, layout.BOX_OF_HOST[host]] += size


def note_evenings(story: Story, name: str, evenings: Mapping[str, Evening]) -> None:
    """Note whether all requests of these evenings (by home site) were served, and right."""
    faults = [text for one in evenings.values() for text in (*one.wrong, *one.unserved)]
    sessions = sum(one.sessions for one in evenings.values())
    size = sum(sum(one.delivered.values()) for one in evenings.values())
    figures = f"{sessions} visits, {show.megabytes(size)}"
    story.note(
        name, not faults, f"{figures}; {len(faults)} faults {faults[:2]}" if faults else figures
    )


def _without_films(run: Run, home: str) -> dict[int, float]:
    """The evening's demand, less what the four viewers of the next act will have fetched."""
    watched = {LADDER[0].name, AUDIO}
    share = PLAYED_AT_KILL_S / FILM_S
    left = dict(run.forecast[home])
    for asset in run.catalogue.assets:
        if asset.name in watched:
            left[asset.id] = max(0.0, left[asset.id] - share * asset.bytes)
    return left


def _sum(sessions: Sequence[Session]) -> int:
    return sum(one.size_bytes for one in sessions)


def truth_of(media: Path, catalogue: Catalogue) -> Truth:
    """What every file must be; raises StageError when there are none."""
    truth = read_truth(media, catalogue)
    if not truth.assets:
        raise StageError(f"there is nothing in {media}")
    return truth
