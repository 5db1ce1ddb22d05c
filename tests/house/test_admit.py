"""The simulated appliance's law is the appliance's: services do not import each other, tests do."""

from __future__ import annotations

from random import Random

from oca.agent import health
from oca.agent.health import Admitting as Real
from steering import simulate_box
from steering.simulate_box import Admitting as Model


def test_the_model_of_steering_simulate_does_what_the_agent_does() -> None:
    """The same marks, and the same answers to the same loads."""
    marks = {name: getattr(health, name) for name in dir(health) if name.startswith("ADMIT_")}
    assert len(marks) > 8
    for name, value in marks.items():
        assert getattr(simulate_box, name.removeprefix("ADMIT_")) == value, name
    rng = Random(5)
    for ttl_s in (7.0, 60.0):
        real, model = Real(), Model()
        load = 0.7
        for now_s in range(0, 5000, 10):
            load = min(1.0, max(0.0, load + rng.uniform(-0.1, 0.1)))
            assert real.next(load, now_s, ttl_s) == model.next(load, now_s, ttl_s)
