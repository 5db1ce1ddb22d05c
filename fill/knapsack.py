"""One box's knapsack with churn: the most demand for a disk and for one night's transfer. Pure.

With demand per byte as density, the linear optimum is two thresholds: keep what is ≥ τ, fetch what
is ≥ τ + μ, where μ is the price of churn (Dantzig 1957 for the knapsack; τ and μ are the prices of
disk and transfer in the dual). Taking offers in falling order of density, a fetch lowered by the
least μ, finds both: whichever of disk and transfer runs out first sets its price. What does not
fit leaves a hole, which smaller ones may fill; so the value is within the one item that met a
full disk and the one that met a spent budget of the linear optimum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Refusal(Enum):
    """Why a box does not take what it was offered."""

    DISK = "its disk is full of what is asked for more"
    FILL = "tonight's transfer is spent on what is asked for more"
    PRICE = "so little is asked of it that fetching it does not pay"
    SIZE = "it is larger than the box's usable disk"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Densities (bytes asked for a day per byte stored): keep from `tau`, fetch from `tau + mu`."""

    tau: float
    mu: float


@dataclass(slots=True)
class Bin:
    """What one box may still take; sizes in bytes, `price` is the least μ.

    Offers must come in falling order of `worth`.
    """

    disk_bytes: int
    fill_bytes: int
    price: float
    used_bytes: int = 0
    fetched_bytes: int = 0
    disk_worth: float = 0.0
    fill_density: float = 0.0

    def offer(self, density: float, size_bytes: int, held: bool) -> Refusal | None:
        """Take an asset (None), or say why not and remember what that makes the prices."""
        if not held and density <= self.price:
            return Refusal.PRICE
        if size_bytes > self.disk_bytes:
            return Refusal.SIZE
        if self.used_bytes + size_bytes > self.disk_bytes:
            self.disk_worth = max(self.disk_worth, worth(density, held, self.price))
            return Refusal.DISK
        if not held and self.fetched_bytes + size_bytes > self.fill_bytes:
            self.fill_density = max(self.fill_density, density)
            return Refusal.FILL
        self.used_bytes += size_bytes
        self.fetched_bytes += 0 if held else size_bytes
        return None

    def thresholds(self) -> Thresholds:
        """The two thresholds that the refusals so far amount to."""
        tau = max(self.disk_worth, 0.0)
        return Thresholds(tau, max(self.price, self.fill_density - tau))


@dataclass(frozen=True, slots=True)
class Item:
    """One asset offered to one box: `density` in bytes asked for a day per byte stored."""

    asset: int
    size_bytes: int
    density: float
    held: bool


def worth(density: float, held: bool, price: float) -> float:
    """What offers are ordered by: a fetch is worth its density less the price of the transfer."""
    return density if held else density - price


def choose(items: Iterable[Item], bin_: Bin) -> list[Item]:
    """The items a single box should hold, best first; `bin_` is filled with them."""
    ordered = sorted(
        items, key=lambda item: (-worth(item.density, item.held, bin_.price), item.asset)
    )
    return [item for item in ordered if not bin_.offer(item.density, item.size_bytes, item.held)]
