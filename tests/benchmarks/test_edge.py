"""The edge benchmark judges as the issue says, reads its tools rightly, and favours nobody."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from benchmarks.edge_claims import (
    CLAIMS,
    Verdict,
    best_peer,
    judge_row,
    leanest_peer,
)
from benchmarks.edge_peers import CONFIGS, PEERS, PeerError, fill_in, sections
from benchmarks.edge_report import as_json, markdown
from benchmarks.edge_run import Outcome, _qualified, _rotated
from benchmarks.edge_scenarios import SCENARIOS
from benchmarks.edge_tree import make_paths, make_tree, request_list
from benchmarks.load import LoadError, parse_h2load_log, parse_wrk
from benchmarks.measure import parse_core_times
from benchmarks.page_cache import cached_share, evict, held_in_memory
from benchmarks.stats import bootstrap_median, paired_ratio, percentile
from wire.catalogue import Asset
from wire.codec import decode
from wire.keys import parse_verify_key
from wire.token import allows_uri, split_path, verify

NINE = range(9)


def rates(**each: float) -> dict[str, list[dict[str, float]]]:
    """Nine rounds in which every server has the same rate each time, and CPU cost 1."""
    return {
        name.replace("_", "-"): [{"rate": rate, "cpu_s_per_gb": 1.0} for _ in NINE]
        for name, rate in each.items()
    }


def test_a_ratio_is_taken_within_each_round() -> None:
    """A slow minute hits both members of a pair, so it does not widen the interval."""
    theirs = [100.0, 10.0, 100.0, 10.0, 100.0, 10.0, 100.0, 10.0, 100.0]
    estimate = paired_ratio([value * 1.5 for value in theirs], theirs, Random(1))
    assert estimate is not None
    assert (estimate.median, estimate.low, estimate.high) == pytest.approx((1.5, 1.5, 1.5))


def test_an_interval_shows_the_noise() -> None:
    """Readings that scatter give an interval around the median."""
    estimate = bootstrap_median([0.8, 0.9, 1.0, 1.1, 1.2, 0.7, 1.3, 1.0, 1.0], Random(1))
    assert estimate.low < 1.0 < estimate.high


def test_a_percentile_is_one_of_the_values() -> None:
    """Nearest rank: 99 of 100 values lie below the p99."""
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0


def test_the_best_peer_is_never_oca() -> None:
    """oca is held against others, not against itself."""
    assert best_peer(rates(oca=9, oca_tls=9, h2o_tuned=5, nginx_shipped=4)) == "h2o-tuned"


def test_a_slow_peer_is_not_the_leanest() -> None:
    """A server that sleeps on full buffers is lean and slow: only those near the top count."""
    readings = rates(nginx_tuned=100, h2o_tuned=79)
    readings["h2o-tuned"] = [{"rate": 79.0, "cpu_s_per_gb": 0.1} for _ in NINE]
    assert leanest_peer(readings) == "nginx-tuned"


def test_the_4k_row_needs_both_ratios() -> None:
    """1.2 × nginx as shipped is not enough when another peer is faster than oca."""
    holds = judge_row("4k", rates(oca=120, nginx_shipped=100, h2o_tuned=119), {})
    fails = judge_row("4k", rates(oca=120, nginx_shipped=100, h2o_tuned=121), {})
    assert (holds.verdict, fails.verdict) == (Verdict.HOLDS, Verdict.FAILS)


def test_a_median_with_a_wide_interval_fails_the_4k_row() -> None:
    """The lower end of the interval must reach 0.95 as well."""
    readings = rates(oca=120, nginx_shipped=50, h2o_tuned=100)
    readings["oca"] = [{"rate": rate} for rate in (101, 80, 102, 80, 103, 80, 104, 80, 105)]
    assert judge_row("4k", readings, {}).verdict is Verdict.FAILS


def test_ranges_may_be_won_by_leanness_only_where_the_core_idles() -> None:
    """≥ 1.1 × the best, or lean with an idle core; lean and busy is neither."""
    readings = rates(oca=100, nginx_tuned=100)
    for idle, verdict in ((0.5, Verdict.HOLDS), (0.0, Verdict.FAILS)):
        readings["oca"] = [{"rate": 100.0, "cpu_s_per_gb": 0.5, "server_idle": idle} for _ in NINE]
        assert judge_row("ranges", readings, {}).verdict is verdict


def test_errors_of_ours_fail_a_row() -> None:
    """A fast server that drops requests has not won."""
    readings = rates(oca=1000, nginx_shipped=100)
    readings["oca"][4]["errors"] = 1.0
    assert judge_row("4k", readings, {}).verdict is Verdict.FAILS


def test_what_was_not_measured_is_skipped_with_its_reason() -> None:
    """No row passes by silence."""
    row = judge_row("tls", rates(nginx_tls=100), {"oca-tls": "oca has no TLS"})
    assert row.verdict is Verdict.SKIPPED
    assert row.judgements[0].reason == "oca has no TLS"


def test_every_scenario_has_claims_and_every_claim_a_scenario() -> None:
    """The table of the issue is whole."""
    assert {claim.scenario for claim in CLAIMS} == {scenario.name for scenario in SCENARIOS}


def test_heats_keep_the_better_configuration_and_the_yardstick() -> None:
    """Of a family the better goes on, if near the top; nginx as shipped always does."""
    readings = rates(nginx_shipped=50, nginx_tuned=100, h2o_shipped=90, h2o_tuned=80, caddy_tuned=9)
    assert _qualified(readings) == ["nginx-shipped", "nginx-tuned", "h2o-shipped"]


def test_the_order_of_a_round_rotates() -> None:
    """Nobody is always first."""
    assert [_rotated("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]


def test_wrk_and_h2load_are_read() -> None:
    """What they print becomes numbers; what they did not answer is an error."""
    line = (
        '{"requests":300,"bytes":3000,"duration_us":1500000,"p50_us":500,"p99_us":2000,"errors":2}'
    )
    seen = parse_wrk(f"noise\nRESULT {line}\n")
    assert (seen.requests / seen.seconds, seen.p99_ms, seen.errors) == (200, 2.0, 2)
    log = "1\t200\t1000\n2\t200\t3000\n3\t503\t10\n4\t-1\t10\n"
    opened = parse_h2load_log(log, expected=5)
    assert (opened.requests, opened.worst_ms, opened.errors) == (2, 3.0, 3)
    with pytest.raises(LoadError):
        parse_wrk("unable to connect")


def test_a_cores_time_counts_waiting_as_idle_and_stolen_time_apart() -> None:
    """proc(5): user nice system idle iowait irq softirq steal, in ticks."""
    text = "cpu 1 1 1 1 1 1 1 1 0 0\ncpu0 100 0 100 200 100 0 100 50 0 0\nintr 1\n"
    (core,) = parse_core_times(text).values()
    assert core.idle_share == pytest.approx(300 / 650)
    assert core.stolen_s / core.busy_s == pytest.approx(50 / 300)


def test_a_configuration_names_nothing_that_is_not_filled_in() -> None:
    """Every committed configuration is whole, and says what was changed."""
    names = [
        "root",
        "run",
        "work",
        "port",
        "admin",
        "backend",
        "workers",
        "processes",
        "user",
        "group",
        "key",
    ]
    for peer in PEERS:
        text = (CONFIGS / f"{peer.name}.conf").read_text()
        assert text.startswith("#"), f"{peer.name} does not say what it is"
        assert sections(fill_in(text, dict.fromkeys(names, "1")))[""]
    with pytest.raises(PeerError):
        fill_in("port {{prot}}", {"port": "1"})


def test_every_request_of_the_list_is_valid_for_oca(tmp_path: Path, tree_sizes: None) -> None:
    """1,000 assets have 1,000 tokens; each opens its own asset and no other."""
    tree = make_tree(tmp_path, 3)
    paths = make_paths(tree)
    key = {"bench": parse_verify_key(paths.public_key, "test")}
    lines = request_list(tree, paths, "token", "4k").read_text().splitlines()
    seen = set()
    for line in lines:
        path, package = split_path(line)
        assert package is not None
        token = verify(package, key, 0.0)
        assert allows_uri(token, f"http://127.0.0.1:1{path}")
        assert not allows_uri(token, "http://127.0.0.1:1/a/99/4k.mp4")
        seen.add(path)
    assert seen == {f"/a/{asset}/4k.mp4" for asset in (1, 2, 3)}


def test_every_file_has_bytes_of_its_own(tmp_path: Path, tree_sizes: None) -> None:
    """The tree is a store: entry, sizes and digests agree, and no two files are alike."""
    tree = make_tree(tmp_path, 2)
    digests = set()
    for folder in sorted((tree.root / "a").iterdir()):
        entry = decode(Asset, (folder / ".asset.json").read_bytes(), "entry")
        for file in entry.files:
            assert (folder / file.name).stat().st_size == file.bytes
            digests.add(file.sha256)
    assert len(digests) == 2 * 2 + 1


@pytest.fixture
def tree_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files in place of the real sizes."""
    monkeypatch.setattr("benchmarks.edge_tree.SIZES", {"4k": 4096, "64k": 65536})
    monkeypatch.setattr("benchmarks.edge_tree.FILM_BYTES", 3_000_000)


def test_a_file_can_be_put_out_of_memory(tmp_path: Path) -> None:
    """What the storm asks for is not in the page cache: seen there, then seen gone."""
    file = tmp_path / "file"
    with file.open("wb") as out:
        out.write(b"x" * 1_000_000)
        out.flush()
        os.fsync(out.fileno())
    file.read_bytes()
    try:
        before = cached_share(file)
    except OSError as exc:
        pytest.skip(f"this kernel has no cachestat: {exc}")
    evict(file)
    assert before == 1.0
    if cached_share(file) == 1.0:
        pytest.skip("this file system keeps all in memory (tmpfs)")
    assert cached_share(file) == 0.0


def test_held_files_cannot_be_put_out_of_memory(tmp_path: Path) -> None:
    """Hot files stay hot, for all servers alike, while the benchmark holds them."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1_000_000)
    with held_in_memory([file]) as held:
        if not held:
            pytest.skip("mlock is not allowed here")
        evict(file)
        try:
            assert cached_share(file) == 1.0
        except OSError as exc:
            pytest.skip(f"this kernel has no cachestat: {exc}")


def test_a_report_shows_every_round_and_who_is_missing() -> None:
    """JSON has each reading; the page names verdicts and absences."""
    outcome = Outcome(SCENARIOS[0], readings=rates(oca=120, nginx_shipped=100))
    outcome.absent["caddy-tuned"] = "not installed"
    row = judge_row("4k", outcome.readings, outcome.absent)
    facts = {"date": "2026-01-01", "state": "alone"}
    assert as_json(facts, [(outcome, row)]).count('"rate"') == 18
    page = markdown(facts, [(outcome, row)])
    assert "caddy-tuned was not measured: not installed" in page
    assert "| 4 KiB, 32 connections | PASS |" in page
