"""`make demo`: tell the whole story on real video; `--once` ends after it, exit 0 if all held."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import click
from aiohttp import web
from rich.console import Console

from deploy.demo import accidents, acts, layout, show
from deploy.demo.encode import EncodeError
from deploy.demo.processes import Crew, ProcessError
from deploy.demo.stage import Stage, StageError
from deploy.demo.tally import verdict
from deploy.demo.webpage import Page
from wire.errors import WireError

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "var" / "demo"
LOG_COLUMNS = 120


@click.command()
@click.option("--once", is_flag=True, help="End after the story; exit 0 only if all checks held.")
def main(once: bool) -> None:
    """Encode two films, run a fleet through a night, an evening and two accidents."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else LOG_COLUMNS)
    signal.signal(signal.SIGTERM, _as_interrupt)
    story = acts.Story(console)
    start_s = time.monotonic()
    try:
        catalogue = acts.films(story, HOME / "media")
        with Crew(HOME / "logs") as crew:
            stage = acts.curtain_up(story, crew, HOME / "run", HOME / "media", catalogue)
            asyncio.run(_tell(story, stage))
            _conclude(story, time.monotonic() - start_s)
            if not once:
                asyncio.run(_stay(console, crew))
    except KeyboardInterrupt:
        console.print("\nstopped; all processes of the demo have been ended")
        sys.exit(130)
    except (EncodeError, StageError, ProcessError, WireError) as exc:
        console.print(f"\n[bold red]The story stopped:[/] {exc}", markup=True)
        sys.exit(1)
    sys.exit(0 if verdict(story.checks) else 1)


async def _tell(story: acts.Story, stage: Stage) -> None:
    truth = acts.truth_of(stage.run.media, stage.run.catalogue)
    await acts.night(story, stage)
    await acts.evening(story, stage, truth)
    await accidents.screening(story, stage, truth)
    await accidents.healing(story, stage, truth)
    await accidents.second_night(story, stage)


def _conclude(story: acts.Story, took_s: float) -> None:
    failed = [check for check in story.checks if not check.held]
    story.console.print("\n[bold]All promises[/]")
    story.console.print(show.checks_table(story.checks))
    if failed:
        story.console.print(f"\n[bold red]{len(failed)} of {len(story.checks)} did not hold[/]")
    else:
        story.console.print(f"\n[green]all {len(story.checks)} held[/], in {took_s:.0f} s")


async def _stay(console: Console, crew: Crew) -> None:
    """Serve the page until Ctrl-C."""
    runner = web.AppRunner(Page(crew).app(), access_log=None)
    await runner.setup()
    host, _, port = layout.PAGE.rpartition(":")
    await web.TCPSite(runner, host, int(port)).start()
    console.print(f"\nWatch a film, and the boxes behind it:  [bold]http://{layout.PAGE}/[/]")
    console.print("Ctrl-C ends everything.")
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
