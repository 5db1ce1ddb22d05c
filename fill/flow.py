"""Who gets what of a time slot's shared links: min-cost flow with an arc for what is not met. Pure.

Only where some source is asked for more than it can send; else every box simply gets what its own
rate allows. Solved by OR-Tools (Goldberg's cost scaling) over (box, source) pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fill.arrays import Floats, Ints, Longs

Nodes = NDArray[np.signedinteger[Any]]
SITE_COST, ORIGIN_COST, UNMET_COST, URGENT_COST = 1, 10, 1_000, 1_000
UNITS = 10**8  # flows are counted in so many units at most, so that costs stay within 64 bits


def shares(
    box: Ints, source: Ints, left: Longs, take: Longs, send: Longs, origin: int, urgency: Floats
) -> tuple[Longs, Longs]:
    """Bytes of this slot for each (box, source) pair: from that source, and from the origin
    instead of it.

    `left`: bytes still wanted by each pair; `take`, `send`: bytes that each box may pull and push
    in the slot; `urgency` (0 to 1) by box: who has the longest way to go is served first, which is
    what ends the night soonest (longest remaining time first, Pinedo).
    """
    wanted = _alone(box, left, take)
    if (np.bincount(source, wanted, len(send)) <= send).all():
        return wanted, np.zeros(len(box), np.int64)
    return _solved(box, source, left, take, send, origin, urgency)


def _alone(box: Ints, left: Longs, take: Longs) -> Longs:
    """What each pair gets if sources have no limit; pairs are sorted by box."""
    ends = np.cumsum(left)
    first = np.searchsorted(box, box)
    before = ends - left - (ends - left)[first]
    return np.clip(take[box] - before, 0, left)


def _solved(
    box: Ints, source: Ints, left: Longs, take: Longs, send: Longs, origin: int, urgency: Floats
) -> tuple[Longs, Longs]:
    from ortools.graph.python import min_cost_flow  # 0.2 s to import, and most nights need none

    unit = max(1, int(take.sum()) // UNITS)
    pairs, boxes = len(box), len(take)
    pair = np.arange(pairs)
    # nodes: boxes (as sources), pairs, boxes (as takers), the supply, the sink
    supply, sink = 2 * boxes + pairs, 2 * boxes + pairs + 1
    amount = -(-left // unit)
    need = np.minimum(np.bincount(box, amount, boxes).astype(np.int64), take // unit)
    senders = np.unique(np.append(source, origin) if origin >= 0 else source)
    takers = np.flatnonzero(need)
    plain = pair[source != origin]
    flow = min_cost_flow.SimpleMinCostFlow()

    def arcs(tail: Nodes, head: Nodes, most: Longs, cost: Longs) -> Longs:
        found = flow.add_arcs_with_capacity_and_unit_cost(tail, head, most, cost)
        return np.asarray(found, np.int64)

    def full(count: int, value: int) -> Longs:
        return np.full(count, value, np.int64)

    arcs(full(len(senders), supply), senders, send[senders] // unit, full(len(senders), 0))
    cost = np.where(source == origin, ORIGIN_COST, SITE_COST).astype(np.int64)
    direct = arcs(source, boxes + pair, amount, cost)
    instead = plain[:0]
    if origin >= 0:
        instead = arcs(
            full(len(plain), origin), boxes + plain, amount[plain], full(len(plain), ORIGIN_COST)
        )
    arcs(boxes + pair, boxes + pairs + box, amount, full(pairs, 0))
    arcs(boxes + pairs + takers, full(len(takers), sink), need[takers], full(len(takers), 0))
    unmet = UNMET_COST + (urgency[takers] * URGENT_COST).astype(np.int64)
    arcs(full(len(takers), supply), boxes + pairs + takers, need[takers], unmet)
    flow.set_node_supply(supply, int(need.sum()))
    flow.set_node_supply(sink, -int(need.sum()))
    if flow.solve() != flow.OPTIMAL:
        raise ArithmeticError("the flow of a time slot has no solution, which cannot be")
    got = np.minimum(np.asarray(flow.flows(direct), np.int64) * unit, left)
    other = np.zeros(pairs, np.int64)
    if len(plain) and origin >= 0:
        other[plain] = np.minimum(
            np.asarray(flow.flows(instead), np.int64) * unit, (left - got)[plain]
        )
    return got, other
