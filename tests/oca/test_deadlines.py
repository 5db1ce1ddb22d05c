"""Deadlines are kept in buckets: nothing is looked at too late, nothing is looked at twice."""

from __future__ import annotations

from oca.deadlines import NEVER, Deadlines


class Thing:
    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.filed = NEVER


def test_a_thing_is_due_once_and_within_a_step_of_its_time() -> None:
    """Not before its deadline, not more than a step after it, and only once."""
    deadlines: Deadlines[Thing] = Deadlines(0.25, 100.0)
    thing = Thing(101.1)
    deadlines.file(thing, thing.deadline_s)
    assert deadlines.due(101.0) == []
    assert deadlines.due(101.35) == [thing]
    assert thing.filed == NEVER
    assert deadlines.due(200.0) == []


def test_an_earlier_deadline_files_anew_and_a_later_one_does_not() -> None:
    """Found at the earlier of both; a time that is past is found in the next sweep."""
    deadlines: Deadlines[Thing] = Deadlines(0.25, 0.0)
    thing = Thing(60.0)
    deadlines.file(thing, 60.0)
    deadlines.file(thing, 4.0)
    deadlines.file(thing, 30.0)
    assert deadlines.due(3.9) == []
    assert deadlines.due(4.3) == [thing]
    deadlines.file(thing, 1.0)
    assert deadlines.due(4.6) == [thing]


def test_what_was_dropped_is_gone_and_leaves_no_bucket() -> None:
    """A closed connection is not kept until its deadline."""
    deadlines: Deadlines[Thing] = Deadlines(0.25, 0.0)
    things = [Thing(float(i)) for i in range(50)]
    for thing in things:
        deadlines.file(thing, thing.deadline_s)
    for thing in deadlines.everything():
        deadlines.drop(thing)
    assert not deadlines
    assert deadlines.due(100.0) == []
