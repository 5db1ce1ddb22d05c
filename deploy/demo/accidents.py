"""The acts in which boxes are lost and come back; the books, and the second night."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rich.live import Live

from deploy.demo import layout, show
from deploy.demo.acts import KILL_AT_S, Story, book, note_evenings
from deploy.demo.demand import draw, scaled
from deploy.demo.evening import Evening, spend_evening
from deploy.demo.films import FILM_S
from deploy.demo.fleet import NIGHT_TWO
from deploy.demo.player import Diary
from deploy.demo.screening import Accident, Screening
from deploy.demo.stage import Stage, command, until
from deploy.demo.tally import Bytes, difference, offload
from deploy.demo.truth import Truth

SMALL_BYTES = 20_000_000
FREEZE_AT_S = 55.0
OFFLOAD_POINTS_MAX = 0.02
STALL_AFTER_KILL_S = 2.0
STALL_AFTER_FREEZE_S = 4.0
LATER_SEGMENTS_MIN = 5
HEAL_PATIENCE_S = 30.0
HEARTBEATS_MISSED = 3
LOOKING_S = 1.0
"""How late we may notice: we ask every tenth of a second, on a machine that is busy."""
BOOKS_PATIENCE_S = 20.0
AGAIN_S = 8.0
GROWN_S = 3 * layout.HEARTBEAT_S + layout.STEERING_TTL_S
"""A box that comes back gets canary traffic for two heartbeats, and all of its own a TTL later."""


async def screening(story: Story, stage: Stage, truth: Truth) -> None:
    """Act 5: both films in both ISPs; a box is killed in the middle of a response, one freezes."""
    story.act(
        5,
        "The films, and two accidents",
        "Four viewers in real time, buffers of 10 s. kill -9 first, SIGSTOP later.",
    )
    kill = Accident("kill", layout.ISPS[0].site, KILL_AT_S)
    freeze = Accident("freeze", layout.ISPS[1].site, FREEZE_AT_S)
    hall = Screening(stage.crew, truth, [kill, freeze])
    with Live(console=story.console, refresh_per_second=4, transient=False) as live:
        shower = asyncio.create_task(_keep_showing(live, hall))
        outage = asyncio.create_task(_evening_in_the_outage(story, stage, truth, kill))
        diaries = await hall.run(FILM_S)
        shower.cancel()
        if not kill.happened:
            outage.cancel()
        live.update(show.screening_view(hall.viewers, hall.accidents, FILM_S))
    story.console.print()
    covered = await outage if kill.happened else {}
    story.before_kill = story.received + kill.sums_before
    story.received.update(hall.sums())
    book(story, covered)
    _show_who_covered(story, [(kill, freeze.sums_before), (freeze, hall.sums())], covered)
    _note_films(story, diaries)
    note_accident(story, hall, kill, STALL_AFTER_KILL_S, freeze.at_s)
    note_accident(story, hall, freeze, STALL_AFTER_FREEZE_S, float("inf"))
    note_evenings(story, "while a box was dead, everybody else was served as well", covered)
    _check_offload(story)


async def _keep_showing(live: Live, hall: Screening) -> None:
    while True:
        live.update(show.screening_view(hall.viewers, hall.accidents, FILM_S))
        await asyncio.sleep(0.25)


async def _evening_in_the_outage(
    story: Story, stage: Stage, truth: Truth, kill: Accident
) -> dict[str, Evening]:
    """Other people's requests while a box is dead, so that the table shows who covers for it."""
    await kill.struck.wait()
    took_s = await until(lambda: not stage.offered(kill.box), HEAL_PATIENCE_S)
    silence_s = HEARTBEATS_MISSED * layout.HEARTBEAT_S
    story.note(
        "after three missed heartbeats steering did not offer the dead box any more",
        took_s is not None and took_s <= silence_s + LOOKING_S,
        f"after {took_s or HEAL_PATIENCE_S:.1f} s; heartbeats every {layout.HEARTBEAT_S:g} s",
    )
    return await _small_evening(stage, truth, "outage")


async def _small_evening(stage: Stage, truth: Truth, seed: str) -> dict[str, Evening]:
    """SMALL_BYTES of requests from each ISP, in the proportions of the forecast."""
    evenings = {}
    for isp in layout.ISPS:
        demand = scaled(stage.run.forecast[isp.site], SMALL_BYTES)
        sessions = draw(stage.run.catalogue, demand, isp.clients, f"{seed} {isp.site}")
        evenings[isp.site] = await spend_evening(sessions, f"http://{layout.STEERING}", truth)
    return evenings


def _show_who_covered(
    story: Story, spans: list[tuple[Accident, Bytes]], covered: Mapping[str, Evening]
) -> None:
    """For each accident: what the lost box's neighbours gave to its viewers until the next one."""
    rows = []
    for accident, sums_then in spans:
        given = sums_then - accident.sums_before
        if accident.what == "kill":
            for host, size in covered[accident.isp].delivered.items() if covered else ():
                given[accident.isp, layout.BOX_OF_HOST[host]] += size
        for (home, box), size in given.most_common():
            if home == accident.isp and box != accident.box and accident.happened:
                name = next(isp.name for isp in layout.ISPS if isp.site == home)
                rows.append((accident.box, name, box, show.megabytes(size)))
    story.console.print(show.covered_table(rows))


def _note_films(story: Story, diaries: Mapping[tuple[str, str], Diary]) -> None:
    files = sum(len(diary.got) for diary in diaries.values())
    wrong = [text for diary in diaries.values() for text in (*diary.wrong, diary.gave_up) if text]
    story.note(
        "all four viewers saw their film to the end, every byte was right",
        all(diary.ended for diary in diaries.values()) and not wrong,
        f"{files} files checked" + (f"; {wrong[:2]}" if wrong else ""),
    )
    asked = min(diary.steering_asked for diary in diaries.values())
    story.note("every player followed steering", asked > 0, f"each asked at least {asked} times")


def note_accident(
    story: Story, hall: Screening, accident: Accident, stall_max_s: float, until_s: float
) -> None:
    """The checks of one accident: it hit a response, nobody noticed, somebody took over."""
    what = {"kill": "killed", "freeze": "frozen"}[accident.what]
    name = f"a box was {what} in the middle of a response"
    if not accident.happened:
        story.note(name, False, f"no box of {accident.isp} served its viewers")
        return
    diary = hall.viewer(accident.isp, accident.film).player.diary
    cut = [
        one
        for one in diary.failed
        if layout.BOX_OF_HOST[one.host] == accident.box and 0 < one.got_bytes < one.want_bytes
    ]
    got_bytes = cut[0].got_bytes if cut else 0
    story.note(
        name,
        bool(cut),
        f"{accident.box}: of {accident.want_bytes:,} bytes {got_bytes:,} came through",
    )
    stalls = [
        stall.duration_s
        for viewer in hall.viewers
        for stall in viewer.player.stalls
        if accident.at_s <= stall.began_s < until_s
    ]
    story.note(
        f"no viewer stalled for more than {stall_max_s:g} s after that",
        max(stalls, default=0.0) <= stall_max_s,
        f"longest {max(stalls, default=0.0):.2f} s",
    )
    served = diary.segments_by(accident.at_s)
    by_box = {layout.BOX_OF_HOST[host]: count for host, count in served.items()}
    survivor, count = max(by_box.items(), key=lambda pair: pair[1], default=("nobody", 0))
    story.note(
        "another box took over",
        survivor != accident.box and count >= LATER_SEGMENTS_MIN,
        f"{survivor} served {count} later segments to the viewer of {accident.box}",
    )


def _check_offload(story: Story) -> None:
    """The evening before the accident against the plan's promise."""
    story.console.print(show.offload_table(story.before_kill, story.promised))
    for isp in layout.ISPS:
        real = offload(story.before_kill, isp.site, layout.SITE_OF)
        plan = story.promised[isp.site]
        story.note(
            f"{isp.name}: offload is what the plan promised, within 2 points",
            abs(real - plan) <= OFFLOAD_POINTS_MAX,
            f"planned {show.percent(plan)}, realised {show.percent(real)}",
        )


async def healing(story: Story, stage: Stage, truth: Truth) -> None:
    """Act 6: both boxes come back; the view heals, and the books agree to the byte."""
    story.act(
        6, "Back again", "The dead box is started, the frozen one goes on; books are compared."
    )
    for box in layout.BOXES:
        process = stage.crew.processes[box.id]
        if process.frozen:
            process.thaw()
        elif not process.running:
            stage.crew.restart(box.id)
    took_s = await until(stage.all_in_service, HEAL_PATIENCE_S)
    story.note(
        "steering offers both again",
        took_s is not None,
        f"after {took_s or HEAL_PATIENCE_S:.1f} s; heartbeats every {layout.HEARTBEAT_S:g} s",
    )
    await asyncio.sleep(GROWN_S)
    await _press_play_again(story, stage, truth)
    morning = await _small_evening(stage, truth, "morning")
    book(story, morning)
    note_evenings(story, "requests after that were served", morning)

    def agree() -> bool:
        return not difference(story.received, stage.event_totals())

    await until(agree, BOOKS_PATIENCE_S)
    events = stage.event_totals()
    differ = difference(story.received, events)
    story.console.print(show.offload_table(events, None))
    story.note(
        "what the players received is what the events say, to the byte",
        not differ,
        f"{sum(story.received.values()):,} bytes" + (f"; {differ[:3]}" if differ else ""),
    )


async def _press_play_again(story: Story, stage: Stage, truth: Truth) -> None:
    """The four viewers begin their films anew: who serves them, now that all boxes are there?"""
    hall = Screening(stage.crew, truth, [])
    await hall.run(AGAIN_S)
    sums = hall.sums()
    story.received.update(sums)
    at_home = {isp.site: offload(sums, isp.site, layout.SITE_OF) for isp in layout.ISPS}
    story.note(
        "who presses play again is served at home again",
        all(share > 0 for share in at_home.values()),
        ", ".join(f"{site} {show.percent(share)}" for site, share in at_home.items()),
    )


async def second_night(story: Story, stage: Stage) -> None:
    """Act 7: the next plan is made from what was really watched."""
    story.act(7, "The second night", "Generation 2: planned with the bytes that were counted.")
    command("fill", "plan", "--config", str(stage.run.folder / NIGHT_TWO))
    promised = stage.planned_offload()
    plans = {box.id: stage.plan_of(box) for box in layout.BOXES}
    took_s = await until(lambda: stage.all_hold(plans), HEAL_PATIENCE_S)
    words = ", ".join(f"{site} {show.percent(share)}" for site, share in promised.items())
    story.note(
        "all boxes took generation 2 and hold it",
        took_s is not None and {plan.generation for plan in plans.values()} == {2},
        f"after {took_s or HEAL_PATIENCE_S:.1f} s; planned offload {words}",
    )
