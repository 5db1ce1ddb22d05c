"""Who fell silent, without asking every box."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from steering.silence import SilenceWatch

NAMES = ["a", "b", "c", "d", "e"]
STEPS = st.lists(st.tuples(st.sampled_from([*NAMES, ""]), st.integers(0, 20)), max_size=60)


@given(STEPS)
def test_watch_knows_what_asking_every_box_would_tell(steps: list[tuple[str, int]]) -> None:
    """However boxes report and time passes: the same are silent, and each is named once."""
    watch, now_s = SilenceWatch(30.0, NAMES[1:]), 0.0
    heard: dict[str, float] = {}
    told: set[str] = set()
    for name, wait_s in steps:
        now_s += wait_s
        if name:
            watch.heard(name, now_s)
            heard[name] = now_s
            told.discard(name)
        fresh = watch.fallen(now_s)
        assert not told & set(fresh)
        told |= set(fresh)
        silent = {box for box, heard_s in heard.items() if now_s - heard_s > 30.0}
        assert told == silent
        counted = set(heard) - {"a"}
        assert watch.most_silent == (len(silent & counted) * 2 > len(counted))
