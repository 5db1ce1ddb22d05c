"""What no placement can beat: one site's linear programme, by HiGHS, and its aggregate knapsack.

Shares no code with the planner: it reads the same numbers and says what they allow. Assets may be
cut into pieces, copies into fractions of copies; so its optimum is at least that of any plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_matrix, vstack

Floats = NDArray[np.float64]
SPARES = 4  # a fifth spare copy is worth `away` to the fifth: nothing


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """One site: `n` assets (bytes, bytes asked for a day), `b` boxes (usable disk, bytes of a
    window, bytes a day that its link carries, and of one asset), who holds what (n, b)."""

    size: Floats
    demand: Floats
    held: NDArray[np.bool_]
    disk: Floats
    fill: Floats
    serve: Floats
    copy: Floats
    price: float
    away: float


def lp_bound(site: SiteFacts) -> float:
    """The most that a plan of this site can be worth, in bytes a day; raises ValueError if HiGHS
    finds none (it always should)."""
    n, b = site.held.shape
    asset, box = np.repeat(np.arange(n), b), np.tile(np.arange(b), n)
    unit = float(site.size.mean())
    size, fetch = site.size[asset] / unit, ~site.held.ravel()
    flow = np.minimum(site.demand[:, None], site.copy[None, :]).ravel() / unit
    most = np.maximum(np.minimum(site.demand, site.copy.max()) / unit, 1e-12)
    spares = max(1, min(SPARES, b - 1))
    # columns: x, what is stored; y, the share of `flow` that it carries; spare copies
    x, y = np.arange(n * b), n * b + np.arange(n * b)
    spare = [2 * n * b + index * n + np.arange(n) for index in range(spares)]
    width = 2 * n * b + spares * n
    every, ones = np.arange(n * b), np.ones(n * b)
    blocks = [
        (n * b, [(every, x, -ones), (every, y, ones)], np.zeros(n * b)),
        (n, [(asset, y, flow)], site.demand / unit),
        (b, [(box, y, flow)], site.serve / unit),
        (b, [(box, x, size)], site.disk / unit),
        (b, [(box, x, np.where(fetch, size, 0.0))], site.fill / unit),
        (
            n,
            [(asset, x, -ones), (asset, y, flow / most[asset])]
            + [(np.arange(n), column, np.ones(n)) for column in spare],
            np.zeros(n),
        ),
    ]
    table = vstack([_block(rows, parts, width) for rows, parts, _ in blocks]).tocsr()
    limit = np.concatenate([each for _, _, each in blocks])
    gain = np.zeros(width)
    gain[x], gain[y] = np.where(fetch, -site.price * size, 0.0), flow
    for index, column in enumerate(spare):
        gain[column] = site.away ** (index + 1) * most
    found = linprog(-gain, table, limit, bounds=(0, 1), method="highs")
    if found.status != 0:
        raise ValueError(f"HiGHS: {found.message}")
    return float(-found.fun * unit)


def _block(
    rows: int, parts: list[tuple[NDArray[np.intp], NDArray[np.intp], Floats]], width: int
) -> coo_matrix:
    row, column, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    return coo_matrix((value, (row, column)), (rows, width))


def knapsack_bound(site: SiteFacts) -> float:
    """The most bytes a day that a site can serve and be worth: all disks as one, all links as one,
    one window for all, what is held anywhere held everywhere. Fractional, so a bound."""
    away, spares = site.away, max(1, min(SPARES, len(site.disk) - 1))
    most = np.minimum(site.demand, site.copy.max())
    need = np.maximum(np.ceil(site.demand / np.maximum(site.copy.max(), 1e-9)), 1.0)
    # first copies (as many as links make necessary), then spares, each an item of its own
    value = [site.demand, *(away ** (index + 1) * most for index in range(spares))]
    size = [site.size * need, *(site.size for _ in range(spares))]
    copies = site.held.sum(axis=1)
    paid = [np.maximum(need - copies, 0.0) * site.size]
    paid += [np.where(copies > need + index, 0.0, site.size) for index in range(spares)]
    gain = np.concatenate(value) - site.price * np.concatenate(paid)
    sizes, gains = np.concatenate(size)[gain > 0], gain[gain > 0]
    order = np.argsort(-gains / sizes)
    taken = np.cumsum(sizes[order])
    whole = float(site.disk.sum())
    return float(
        np.interp(
            whole, np.concatenate(([0], taken)), np.concatenate(([0], np.cumsum(gains[order])))
        )
    )
