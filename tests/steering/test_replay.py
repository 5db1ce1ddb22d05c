"""Records of decisions: bounded, without addresses, and enough to decide again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from pyroaring import BitMap

from steering.accesslog import AccessLog
from steering.address import parse_client
from steering.choose import Box, seed_of
from steering.config import Records
from steering.decide import Decision, Question, Ranking, Snapshot, decide
from steering.decisions import Record, State, read_lines, record_of
from steering.policy import DEFAULT, Policy, as_dict
from steering.replay import replay
from tests.steering.replica import IN_A, IN_B, running
from tests.steering.test_choose import SITES, TABLE
from tests.steering.test_generations import steering
from tests.steering.test_surfaces import full_fleet
from wire.codec import encode
from wire.errors import WireError
from wire.steer import Reason

BOXES = {"i1": "isp", "i2": "isp", "x1": "ix", "x2": "ix"}


def snapshot(policy: Policy = DEFAULT, **changes: float) -> Snapshot:
    """Two sites of two boxes, all with assets 1 to 3, and the origin; `i1` yields for balance."""
    made = [
        Box(
            id=name, site=site, base_url=f"http://{name}",
            weight=1e9 * policy.weight_of(name, site),
            admit=changes.get(name, 1.0), holds=BitMap([1, 2, 3]), seed=seed_of(name),
            spread=0.6 if name == "i1" else 1.0,
        )
        for name, site in BOXES.items()
    ]  # fmt: skip
    boxes = {site: tuple(box for box in made if box.site == site) for site in ("isp", "ix")}
    origin = Box("origin", "origin", "http://o", 1.0, holds=BitMap(), seed=seed_of("origin"))
    return Snapshot(Ranking(TABLE, SITES, policy), boxes, origin, policy=policy)


def decided(seen: Snapshot, count: int, **more: object) -> list[tuple[Decision, Snapshot]]:
    """Decisions for many clients of the ISP."""
    found = []
    for number in range(count):
        client = parse_client(f"10.1.{number}.7")
        values = {"want": seen.policy.pathways, "assets": (1,), **more}
        question = Question(client, f"film-{number % 7}", **values)  # type: ignore[arg-type]
        found.append((decide(question, seen), seen))
    return found


def written(pairs: Iterable[tuple[Decision, Snapshot]]) -> list[State | Record]:
    """Through bytes and back."""
    lines: list[State | Record] = []
    for n, (decision, seen) in enumerate(pairs, start=1):
        if n == 1:
            sites = tuple(SITES.values())
            policy = as_dict(seen.policy)
            lines.append(State(at_s=0.0, generation=1, policy=policy, sites=sites))
        lines.append(record_of(decision, seen, at_s=0.0, n=n, surface="steer"))
    return list(read_lines([encode(line) for line in lines], "log"))


@pytest.mark.parametrize("more", [{}, {"assets": (1, 2, 9), "by_asset": False, "held_min": 2}])
def test_the_same_policy_gives_the_same_answers(more: dict[str, object]) -> None:
    """Of a whole title and of one asset; with a box that sheds and one that is weighted."""
    seen = snapshot(Policy(weights={"x1": 3.0}), i2=0.5)
    report = replay(written(decided(seen, 200, **more)), seen.policy)
    assert (report.replayed, report.aside, report.left_out, report.changed) == (200, 0, 0, 0)
    assert sum(site.before for site in report.sites) == 200


def test_another_order_of_kinds_moves_everybody_and_says_why() -> None:
    """By site, with examples; half the TTL is twice the questions."""
    same_prefix = Policy(kinds=["ix", "embedded", "pni", "transit"], ttl_s=30, name="ix first")
    lines = written(decided(snapshot(), 100))
    told = replay(lines, same_prefix)
    assert told.moved == 0, "the ISP announced the longer prefix: kinds do not matter there"
    assert told.questions == 2.0 and told.policy == "ix first"
    away = replay(lines, Policy(weights={"isp": 0.0}))
    assert away.moved_share == 1.0
    sites = {site.site: (site.before, site.after) for site in away.sites}
    assert sites == {"isp": (100, 0), "ix": (0, 100)}
    assert "is being drained" in away.examples[0].why
    assert away.examples[0].client == "10.1.0.0/24" and away.examples[0].after[0] in ("x1", "x2")


def test_weights_move_their_share_and_come_back() -> None:
    """A quarter of the capacity keeps a fifth of the clients; nobody leaves the site."""
    lines = written(decided(snapshot(), 250))
    report = replay(lines, Policy(weights={"i2": 0.25}))
    assert 0.15 < report.moved_share < 0.45 and report.sites[0].after == 250


def test_more_places_are_more_places() -> None:
    """Only where the policy said how many; a redirect has one."""
    lines = written(decided(snapshot(), 50))
    report = replay(lines, Policy(pathways=4))
    assert report.moved == 0 and report.changed == 50
    assert len(report.examples[0].after) == len(report.examples[0].before) + 1


def test_what_cannot_be_decided_again_is_set_aside_and_counted() -> None:
    """A record that is cut, or does not fit its policy, or is missing."""
    state, *records = written(decided(snapshot(), 10))
    changed = [msgspec.structs.replace(record, chosen=("zz",)) for record in records[:2]]
    cut = msgspec.structs.replace(records[2], cut=True)
    report = replay([state, *changed, cut, *records[5:]], DEFAULT)
    assert (report.records, report.aside, report.left_out) == (8, 3, 2)
    with pytest.raises(WireError, match="state"):
        replay(records, DEFAULT)


def test_a_file_cut_by_a_crash_is_read_to_its_end_and_a_damaged_one_is_named() -> None:
    """The last line may be half."""
    lines = [encode(line) for line in written(decided(snapshot(), 3))]
    assert len(list(read_lines([*lines, b'{"kind":"deci'], "log"))) == 4
    with pytest.raises(WireError, match="log: line 2"):
        list(read_lines([lines[0], b'{"kind":"decision"}', lines[1]], "log"))


def test_reasons_are_in_the_record() -> None:
    """L for the box that sheds, in rank order, as the answer had it."""
    records = written(decided(snapshot(i1=0.0001), 5))[1:]
    assert all(isinstance(one, Record) and ("i1", Reason.LOAD) in one.passed for one in records)


async def test_files_rotate_and_a_full_queue_leaves_out_and_counts(tmp_path: Path) -> None:
    """Each file begins with the state; nothing waits for the disk."""
    counted: dict[str, int] = {}

    def count(result: str, number: int) -> None:
        counted[result] = counted.get(result, 0) + number

    file = tmp_path / "d.jsonl"
    knobs = Records(per_s=10**6, queue=100, file_bytes=65_536, files=2)
    log = AccessLog(file, knobs, lambda: (1, tuple(SITES.values())), count)
    pairs = decided(snapshot(), 150)
    for _ in range(4):
        for decision, seen in pairs:
            log.put("steer", decision, seen)
        await log.flush()
    assert counted == {"written": 400, "left_out": 200}
    assert names_in(tmp_path) == ["d.jsonl", "d.jsonl.1"]
    lines = list(read_lines((tmp_path / "d.jsonl.1").read_bytes().splitlines(), "d"))
    assert isinstance(lines[0], State) and replay(lines, DEFAULT).aside == 0
    quiet = AccessLog(tmp_path / "none", Records(per_s=0), lambda: (1, ()), count)
    quiet.put("steer", *pairs[0])
    refused = AccessLog(tmp_path / "no" / "folder", Records(), lambda: (1, ()), count)
    refused.put("steer", *pairs[0])
    await asyncio.gather(quiet.flush(), refused.flush())
    assert counted["left_out"] == 201 and counted["failed"] == 1


async def test_what_a_replica_answered_is_decided_again_by_the_command(tmp_path: Path) -> None:
    """Every surface; under the same policy all is as it was, under another the table says what."""
    async with running(tmp_path) as replica:
        await full_fleet(replica)
        for source in (IN_A, IN_B):
            await replica.get("/v1/steer?asset=2", source=source)
            await replica.get("/v1/steer?title=film", source=source)
            await replica.ask("/v1/play/film.m3u8", source=source)
            await replica.ask("/v1/steering/hls?title=film&pathways=a1,b1,x1,origin", source=source)
        file = tmp_path / "state" / "decisions.jsonl"
        await replica.until("/healthz", lambda *_: file.exists() and lines_of(file) >= 9)
        code, told = await steering("replay", str(file), "--policy", str(replica.config), "--json")
        report = json.loads(told)
        assert code == 0 and report["replayed"] == 8 and report["changed"] == 0, told
        new = tmp_path / "new.toml"
        new.write_text('name = "no a"\nweights = { isp-a = 0 }\n')
        code, told = await steering("replay", str(file), "--policy", str(new))
        assert code == 0 and "50.0% go to another box first (4)" in told, told
        assert "isp-a" in told and "127.16.5.0/24" in told
        new.write_text("weights = { a1 = -1 }")
        code, told = await steering("replay", str(file), "--policy", str(new))
        assert code == 1 and "new.toml: policy.weights.a1" in told


def lines_of(file: Path) -> int:
    """How many."""
    return len(file.read_bytes().splitlines())


def names_in(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())
