"""The agent's pure rules: intake, diff, queue, sources, counts, drops, health."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from pyroaring import BitMap

from oca.agent.answer import SourceFault, judge, suspects
from oca.agent.breaker import PAUSE_MAX_S
from oca.agent.deltas import delta
from oca.agent.diff import diff
from oca.agent.drops import due_s
from oca.agent.health import Admitting, Readings
from oca.agent.health import judge as judge_health
from oca.agent.intake import Standing, refusal
from oca.agent.inventory import Ledger, Seen, report
from oca.agent.limit import Limit
from oca.agent.parts import own_key, plan_keys
from oca.agent.queue import Queue
from oca.agent.sources import STRIKE_S, Fault, SourceBook, candidates
from oca.config import Config
from oca.held import Held
from tests.oca.agent.world import make_file
from wire.errors import WireError
from wire.keys import new_private_pem
from wire.knobs import config_of
from wire.plan import Desired, Plan, Source, SourceKind
from wire.reports import DiskTold, unpack_bitmap

DIGEST = "0" * 64
EPOCH = "00000000000000aa"


def want(
    asset: int, size: int = 10, sources: tuple[int, ...] = (), digest: str = DIGEST
) -> Desired:
    return Desired(asset=asset, bytes=size, digest=digest, sources=sources)


def held(*assets: int, size: int = 10, digest: str = DIGEST) -> dict[int, Held]:
    return dict.fromkeys(assets, Held(size, digest))


def plan(*desired: Desired, **changes: object) -> Plan:
    values: dict[str, object] = {
        "appliance": "a1", "epoch": EPOCH, "generation": 5, "made_s": 0, "expires_s": 1000,
        "fill_bytes": 0, "desired": desired, "sources": (), "peers": {},
    }  # fmt: skip
    return Plan(**(values | changes))  # type: ignore[arg-type]


# --- intake --------------------------------------------------------------------------------------

STANDING = Standing("a1", EPOCH, 4, held(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"appliance": "a2"}, "for the appliance"),
        ({"epoch": "00000000000000bb"}, "catalogue"),
        ({"generation": 3}, "older"),
        ({"generation": 4}, ""),
        ({"expires_s": 100}, "expired"),
        ({"desired": (want(1, sources=(0,)),), "force": True}, "source"),
    ],
)
def test_a_plan_is_refused_with_the_reason(changes: dict[str, object], said: str) -> None:
    """Every refusal names what is wrong."""
    why = refusal(plan(*(want(n) for n in (1, 2, 3, 4)), **changes), STANDING, 100)
    assert said in why and bool(said) == bool(why)


def test_the_brake_stands_at_a_quarter_and_force_lifts_it() -> None:
    """A quarter may go, more may not."""
    quarter, half = plan(want(1), want(2), want(3)), plan(want(1), want(2))
    assert refusal(quarter, STANDING, 0) == ""
    assert "50%" in refusal(half, STANDING, 0)
    assert refusal(plan(want(1), force=True), STANDING, 0) == ""
    assert refusal(half, Standing("a1", "", 0, {}), 0) == "", "a fresh box has nothing to lose"


# --- diff ----------------------------------------------------------------------------------------


def test_what_is_missing_comes_in_the_plans_order_and_what_is_not_wanted_goes() -> None:
    """The plan is a desired set; the box finds the difference itself."""
    work = diff([want(9), want(2), want(7)], held(2, 3), 100)
    assert [item.asset for item in work.fetch] == [9, 7]
    assert work.drop == {3}


def test_short_of_space_the_plans_order_decides() -> None:
    """What is worth less makes room, but only for something that is worth more."""
    assert diff([want(1), want(2), want(3)], held(3), 20).drop == {3}
    assert diff([want(1), want(2), want(3)], held(1, 2, 3), 20).drop == frozenset()
    assert diff([want(1), want(2), want(3)], held(1, 2), 20).skipped == (3,)


def test_an_asset_held_under_another_entry_goes_first() -> None:
    """Same id, other entry: another thing."""
    work = diff([want(1)], held(1, digest="1" * 64), 100)
    assert work.drop == {1} and not work.fetch


def test_purged_assets_are_not_wanted() -> None:
    """Whatever a plan says."""
    work = diff([want(1), want(2)], held(1), 100, banned={1, 2})
    assert work.drop == {1} and not work.fetch


@given(st.data())
def test_the_work_of_a_diff_fits_and_ends_where_the_plan_is(data: st.DataObject) -> None:
    """After fetch and drop the box holds wanted assets only, within its room."""
    rng = data.draw(st.randoms(use_true_random=False))
    sizes = {n: rng.randrange(1, 50) for n in range(20)}
    desired = [want(n, sizes[n]) for n in rng.sample(range(20), rng.randrange(20))]
    have = {n: Held(sizes[n], DIGEST) for n in rng.sample(range(20), rng.randrange(20))}
    room = rng.randrange(1000)
    work = diff(desired, have, room)
    after = (have.keys() - work.drop) | {item.asset for item in work.fetch}
    assert after <= {item.asset for item in desired}
    if work.fetch:
        assert sum(sizes[n] for n in after) <= room


# --- queue ---------------------------------------------------------------------------------------


def test_the_queue_starts_the_best_that_is_ready() -> None:
    """An asset that is put off lets the next one pass, until its time comes again."""
    queue = Queue()
    queue.replace([want(1), want(2)], {})
    first, _ = queue.choose((), 100, 0)
    assert first is not None and first.wanted.asset == 1
    first.put_off(0, quiet=True, why="")
    second, _ = queue.choose((), 100, 0)
    assert second is not None and second.wanted.asset == 2
    nothing, wait_s = queue.choose({2}, 100, 0)
    assert nothing is None and 0 < wait_s <= 0.25
    again, _ = queue.choose({2}, 100, wait_s)
    assert again is first


def test_nothing_of_less_value_takes_the_room_that_drops_will_make() -> None:
    """The head of the queue waits for its place, and nobody overtakes it."""
    queue = Queue()
    queue.replace([want(1, 50), want(2, 5)], {})
    assert queue.choose((), 10, 0)[0] is None


def test_a_new_work_list_keeps_history_and_names_what_is_given_up() -> None:
    """Tries are not forgotten by a new plan."""
    queue = Queue()
    queue.replace([want(1), want(2)], {})
    item = next(iter(queue))
    item.put_off(0, quiet=False, why="away")
    assert queue.replace([want(3), want(1)], {}) == [2]
    assert [(i.wanted.asset, i.tries) for i in queue] == [(3, 0), (1, 1)]


# --- sources -------------------------------------------------------------------------------------

SOURCES = [
    Source(id="b1", kind=SourceKind.PEER, url=""),
    Source(id="b2", kind=SourceKind.PEER, url=""),
    Source(id="x1", kind=SourceKind.SITE, url=""),
    Source(id="origin", kind=SourceKind.ORIGIN, url=""),
]


def ids(
    book: SourceBook, waited_s: float = 0, now_s: float = 0, named: tuple[int, ...] = (0, 1, 2, 3)
) -> list[str]:
    """Who is asked, in order, by a box whose plan names these."""
    found = candidates(want(1, sources=named), SOURCES, book, "a0", now_s, waited_s, 20.0)
    return [source.id for source in found.sources]


def test_the_first_in_line_goes_outside_at_once_and_the_others_wait_for_it() -> None:
    """The plan names the peers that get it before this box: with none ahead, it goes."""
    book = SourceBook()
    assert ids(book, named=(2, 3)) == ["x1", "origin"]
    assert ids(book, named=(0, 2, 3)) == ["b1"]
    assert ids(book) == ["b1", "b2"]


def test_patience_ends_first_for_the_second_in_line() -> None:
    """When the first fails silently, one box goes outside in its place, and not all of them."""
    book = SourceBook()
    assert ids(book, 21, named=(0, 2, 3)) == ["b1", "x1", "origin"]
    assert ids(book, 21) == ["b1", "b2"]
    assert ids(book, 41) == ["b1", "b2", "x1", "origin"]


def test_nobody_waits_for_the_dead() -> None:
    """One failure does not make a peer dead; several in a row do."""
    book = SourceBook()
    for peer in ("b1", "b2"):
        book.blame(peer, Fault.UNREACHABLE, 0)
    assert ids(book) == []
    for peer in ("b1", "b2") * 3:
        book.blame(peer, Fault.UNREACHABLE, 0)
    assert ids(book) == ["x1", "origin"]


def test_a_source_on_probation_is_asked_by_one_request_alone() -> None:
    """After its pause a broken source gets one trial, and its outcome decides for all."""
    book = SourceBook()
    book.blame("x1", Fault.RESET, 0)
    later_s = book.next_usable_s(["x1"], 0)
    assert book.usable("x1", later_s) and book.has_room("x1")
    book.begin("x1")
    assert book.usable("x1", later_s) and not book.has_room("x1")  # waited for, not given up
    book.praise("x1", later_s)
    book.end("x1")
    assert book.has_room("x1")


def test_a_source_gets_what_it_bears() -> None:
    """One more at a time while it keeps up, half after a failure, never none, never too many."""
    limit = Limit(8)
    for _ in range(100):
        limit.succeed(0.01)
    assert limit.value == 8
    limit.fail(0.0)
    limit.fail(0.1)  # they were in flight together: one sign
    assert limit.value == 4
    for _ in range(20):
        limit.succeed(1.0)  # the first byte waits in a queue
    assert limit.value == 4
    for at_s in range(10, 50):
        limit.fail(at_s)
    assert limit.value == 1 and limit.is_free


def test_a_liar_stays_struck_off_and_the_absent_are_asked_again() -> None:
    """A lie costs minutes; being away costs growing pauses; a 404 costs nothing."""
    book = SourceBook()
    book.blame("b1", Fault.WRONG, 0)
    book.praise("b1", 1)
    assert not book.usable("b1", STRIKE_S - 1) and book.usable("b1", STRIKE_S)
    book.blame("b2", Fault.NOT_HELD, 0)
    assert book.usable("b2", 0)
    pauses = []
    for _ in range(12):
        book.blame("x1", Fault.STALLED, 0)
        pauses.append(book.next_usable_s(["x1"], 0))
    assert pauses == sorted(pauses) and pauses[0] < 1 and pauses[-1] == PAUSE_MAX_S
    book.praise("x1", 1)
    assert book.usable("x1", 1)


# --- answers -------------------------------------------------------------------------------------

FILE = make_file("f", bytes(1000))
RIGHT = {"ETag": FILE.etag, "Content-Length": "600", "Content-Range": "bytes 400-999/1000"}


@pytest.mark.parametrize(
    ("status", "headers", "fault"),
    [
        (206, {}, None),
        (404, {}, Fault.NOT_HELD),
        (403, {}, Fault.REFUSED),
        (503, {}, Fault.BUSY),
        (429, {}, Fault.BUSY),
        (302, {}, Fault.PROTOCOL),
        (416, {}, Fault.WRONG),
        (206, {"ETag": '"b"'}, Fault.WRONG),
        (206, {"Content-Range": "bytes 400-999/1001"}, Fault.WRONG),
        (206, {"Content-Range": "bytes 0-999/1000"}, Fault.PROTOCOL),
        (206, {"Content-Range": "bytes 400-500/1000"}, Fault.PROTOCOL),
        (206, {"Content-Range": "bytes */1000"}, Fault.PROTOCOL),
        (206, {"Content-Length": "601"}, Fault.WRONG),
        (206, {"Content-Encoding": "gzip"}, Fault.PROTOCOL),
    ],
)
def test_an_answer_is_judged_before_its_bytes(
    status: int, headers: dict[str, str], fault: Fault | None
) -> None:
    """Asked for 400- of 1000 bytes."""
    if fault is None:
        assert judge(status, RIGHT | headers, FILE, 400) == 400
        return
    with pytest.raises(SourceFault) as caught:
        judge(status, RIGHT | headers, FILE, 400)
    assert caught.value.fault is fault


def test_a_whole_answer_to_a_range_starts_over() -> None:
    """If-Range did not match at the source, or it knows no ranges: 200 begins at 0."""
    assert judge(200, {"Content-Length": "1000"}, FILE, 400) == 0


def test_who_wrote_the_wrong_chunk() -> None:
    """Only those who wrote beyond what is still believed."""
    assert suspects([(0, "a"), (50, "b")], 50) == ["b"]
    assert suspects([(0, "a"), (50, "b")], 40) == ["a", "b"]
    assert suspects([(0, "a"), (50, "b"), (70, "a")], 0) == ["a", "b"]


# --- counts --------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-100, 100)), max_size=60))
def test_whatever_the_counters_do_the_sums_are_theirs(steps: list[tuple[int, int]]) -> None:
    """Reported rows plus what is owed are the counters; no row is negative."""
    counters: dict[tuple[str, int, str], int] = {}
    seen: dict[tuple[str, int, str], int] = {}
    carry: dict[tuple[int, str], int] = {}
    sums: dict[tuple[int, str], int] = {}
    for which, gained in steps:
        key = (f"t{which % 2}", which // 2, "s")
        counters[key] = counters.get(key, 0) + gained
        change = delta(counters.items(), seen, carry, 7)
        seen |= change.seen
        carry = change.carry
        for row in change.rows:
            assert row.bytes > 0 and row.minute == 7
            sums[row.asset, row.home] = sums.get((row.asset, row.home), 0) + row.bytes
    for asset in (0, 1):
        where = (asset, "s")
        truth = sum(count for key, count in counters.items() if key[1] == asset)
        assert sums.get(where, 0) + carry.get(where, 0) == truth


# --- drops, inventory, health --------------------------------------------------------------------


def test_a_drop_waits_for_ttl_and_idle_but_not_beyond_a_token() -> None:
    """Confirmed at 100; TTL 300, idle 300, token life 1000."""
    assert due_s(100, 0, 300, 300, 1000) == 400
    assert due_s(100, 50, 300, 300, 1000) == 400
    assert due_s(100, 390, 300, 300, 1000) == 690
    assert due_s(100, 5000, 300, 300, 1000) == 1400


def test_a_delta_leads_from_what_a_receiver_has_to_what_is() -> None:
    """Number, base, added and removed."""
    ledger = Ledger()
    assert ledger.update(BitMap([1, 2])) == 1 == ledger.update(BitMap([1, 2]))
    full = report(ledger, Seen(), "a1", EPOCH, 3)
    assert full.base_seq is None and set(unpack_bitmap(full.added, "")) == {1, 2}
    seen = Seen(1, BitMap([1, 2]))
    ledger.update(BitMap([2, 3]))
    change = report(ledger, seen, "a1", EPOCH, 3)
    assert (change.seq, change.base_seq) == (2, 1)
    assert set(unpack_bitmap(change.added, "")) == {3}
    assert set(unpack_bitmap(change.removed, "")) == {1}


def test_a_disk_that_goes_off_is_another_inventory() -> None:
    """Also one that nothing was on: it is told while it lasts, and not when all disks are well."""
    ledger, dead = Ledger(), (DiskTold(key="d", bytes=9, live=False),)
    assert ledger.update(BitMap([1])) == 1
    assert report(ledger, Seen(), "a1", EPOCH, 3).disks is UNSET
    assert ledger.update(BitMap([1]), dead) == 2 == ledger.update(BitMap([1]), dead)
    assert report(ledger, Seen(1, BitMap([1])), "a1", EPOCH, 3).disks == dead
    assert ledger.update(BitMap([1])) == 3
    assert report(ledger, Seen(2, BitMap([1])), "a1", EPOCH, 3).disks is UNSET


def reading(**changes: object) -> Readings:
    values = {"answered": 1.0, "probe_s": 0.01, "disk_errors": 0, "served_bps": 0, "link_bps": 100}
    return Readings(**(values | changes))  # type: ignore[arg-type]


def test_the_worst_component_wins_and_is_named() -> None:
    """Graded, not up or down."""
    assert judge_health(reading()) == (1.0, "")
    assert judge_health(reading(answered=0.0, probe_s=None)) == (0.0, "workers do not answer")
    assert judge_health(reading(probe_s=1.5, disk_errors=2)) == (0.5, "workers answer late")
    assert judge_health(reading(disk_errors=30)) == (0.0, "a disk refuses")


def test_admit_sheds_above_takes_back_below_and_rests_between() -> None:
    """Hysteresis: between the marks nothing begins, and what is shed already is hardly moved."""
    law = Admitting()
    assert law.next(0.89, now_s=0.0, ttl_s=60.0) == 1.0
    admit = law.next(0.95, now_s=300.0, ttl_s=60.0)
    assert 0.8 < admit < 1.0
    assert law.next(0.85, now_s=600.0, ttl_s=60.0) == pytest.approx(admit, abs=0.01)
    assert law.next(0.5, now_s=1200.0, ttl_s=60.0) > admit
    for beat in range(100):
        admit = law.next(0.99, now_s=1800.0 + 60 * beat, ttl_s=60.0)
    assert 0 < admit <= 0.05


def test_a_load_that_its_viewers_have_yet_to_hear_of_is_not_shed_again() -> None:
    """At a demand of 1.0 the box comes to rest near its aim in a few steps, however long its
    viewers take to notice: a plain threshold would go on down to nothing."""
    law, told = Admitting(), [1.0] * 60
    for now_s in range(0, 900, 10):
        load = 1.0 * sum(told[-60:]) / 60
        told += [law.next(load, now_s, ttl_s=60.0)] * 10
    assert min(told) >= 0.75 and told[-1] == told[-300]


@pytest.mark.parametrize(
    ("key_alg", "plan_key", "blamed"),
    [
        ("es256", "", "agent.key_file"),
        ("ed25519", "hs256:" + "A" * 43, "agent.plan_keys.fill"),
    ],
)
def test_only_ed25519_speaks_for_boxes_and_plans(
    tmp_path: Path, key_alg: str, plan_key: str, blamed: str
) -> None:
    """A box whose signatures nobody accepts, or whose plans anybody could sign, does not start."""
    (tmp_path / "box.pem").write_bytes(new_private_pem(key_alg))
    agent = {"key_file": str(tmp_path / "box.pem"), "plan_keys": {"fill": plan_key}}
    config = config_of(Config, {"id": "a1", "store": "s", "run": "r", "agent": agent}, "box.toml")
    with pytest.raises(WireError, match=blamed):
        own_key(config)
        plan_keys(config)
