"""When to change one's mind: the work function algorithm for metrical task systems.

Follows Borodin, Linial, Saks, "An optimal on-line algorithm for metrical task system" (JACM 1992):
several ways of working (states), each with a cost per step that is seen only afterwards, and a
distance between each two, the price of changing. w[i] is the least that a clairvoyant could have
paid so far if it had to stand in state i now. We stay until our own w is as high as another's
plus the way from there: then the other's lead has paid for the change. No threshold, no decay,
and never worse than (2n - 1) times the best schedule of changes in hindsight.
"""

from __future__ import annotations

from collections.abc import Sequence

ROUNDING = 1e-6


class WorkFunction:
    """The state we are in, and what every state has cost; costs and distances in one unit."""

    __slots__ = ("_distances", "_work", "state")

    def __init__(self, distances: Sequence[Sequence[float]], state: int) -> None:
        """`distances[i][j]`, symmetric, is the price of changing from state i to j.

        At the start every state is as good as `state`: nothing was gathered yet that could be lost.
        """
        self._distances = [list(row) for row in distances]
        self._work = [0.0] * len(distances)
        self.state = state

    def step(self, costs: Sequence[float]) -> int:
        """Count what this step cost in every state, and return the state to be in from now on."""
        distances = self._distances
        paid = [work + cost for work, cost in zip(self._work, costs, strict=True)]
        work = [min(spent + way for spent, way in zip(paid, row, strict=True)) for row in distances]
        least = min(work)
        self._work = work = [value - least for value in work]
        here = self.state
        reach = [value + way for value, way in zip(work, distances[here], strict=True)]
        others = [other for other in range(len(work)) if other != here]
        best = min(others, key=reach.__getitem__, default=here)
        if work[here] >= reach[best] - ROUNDING and paid[here] > paid[best]:
            self.state = best
        return self.state

    def scale(self, factor: float) -> None:
        """Change the unit that costs and distances are counted in."""
        self._work = [value * factor for value in self._work]
        self._distances = [[way * factor for way in row] for row in self._distances]
