"""The limit finds what the machine can do, and refuses in the right order."""

from __future__ import annotations

import pytest

from steering.limiter import LIMIT_MIN, SHARE, Kind, Limiter

QUEUE_S = 0.02


def settle(limiter: Limiter, each_s: float, waiting: int, turns: int = 300) -> float:
    """Turns in which `waiting` requests are ready and each takes `each_s`; the last turn's time."""
    took_s = 0.0
    for _ in range(turns):
        passed = 0
        for _ in range(waiting):
            passed += limiter.admits(Kind.PLAY, passed)
        took_s = passed * each_s
        limiter.turned(passed, took_s)
    return took_s


@pytest.mark.parametrize("each_s", [10e-6, 50e-6, 1e-3])
def test_whatever_a_request_costs_nobody_waits_much_longer_than_wanted(each_s: float) -> None:
    """Under a crowd that never ends, turns settle around the queue's length."""
    limiter = Limiter(QUEUE_S)
    took_s = settle(limiter, each_s, waiting=20_000)
    assert QUEUE_S * 0.8 <= took_s <= QUEUE_S * 1.15


def test_the_limit_comes_back_when_requests_are_cheap_again() -> None:
    """A stall lowers it, and it does not stay low."""
    limiter = Limiter(QUEUE_S)
    settle(limiter, 1e-3, waiting=5_000)
    low = limiter.limit
    settle(limiter, 20e-6, waiting=5_000)
    assert low < 30 and limiter.limit > 700


def test_without_a_crowd_nobody_is_refused() -> None:
    """A few requests in each turn are let in, however long they take."""
    limiter = Limiter(QUEUE_S)
    for _ in range(1_000):
        assert limiter.admits(Kind.PLAY, 0) and limiter.admits(Kind.PREFETCH, 1)
        limiter.turned(2, 1.0)
    assert limiter.limit >= LIMIT_MIN


def test_one_stall_refuses_nobody() -> None:
    """A turn that was long once says nothing of a queue; the next ones are taken whole."""
    limiter = Limiter(QUEUE_S)
    for took_s in (0.5, 0.001, 0.5, 0.001):
        assert all(limiter.admits(Kind.PLAY, at) for at in range(64))
        limiter.turned(64, took_s)


def test_explanations_go_first_then_prefetches_players_last() -> None:
    """Each kind has its share of what is answered at once, and refusals are counted by kind."""
    limiter = Limiter(QUEUE_S, limit=100)
    admitted = {kind: [at for at in range(120) if limiter.admits(kind, at)] for kind in Kind}
    assert [len(admitted[kind]) for kind in Kind] == [10, 50, 100]
    assert limiter.refused == {Kind.EXPLAIN: 110, Kind.PREFETCH: 70, Kind.PLAY: 20}
    assert SHARE[Kind.EXPLAIN] < SHARE[Kind.PREFETCH] < SHARE[Kind.PLAY] == 1
