"""One box's knapsack: feasible, close to the optimum, and two thresholds explain it."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from fill.knapsack import Bin, Item, Refusal, choose, worth

ITEMS = st.lists(
    st.builds(
        lambda size, demand, held: (size, demand, held),
        st.integers(1, 50),
        st.integers(0, 200),
        st.booleans(),
    ),
    max_size=9,
).map(
    lambda rows: [Item(n, size, demand / size, held) for n, (size, demand, held) in enumerate(rows)]
)
BYTES = st.integers(0, 150)


def value(items: list[Item]) -> float:
    """Demand that these items serve."""
    return sum(item.density * item.size_bytes for item in items)


def optimum(items: list[Item], disk: int, fill: int) -> float:
    """The best of all feasible subsets, by trying each."""
    best = 0.0
    for count in range(len(items) + 1):
        for subset in combinations(items, count):
            size = sum(item.size_bytes for item in subset)
            fetch = sum(item.size_bytes for item in subset if not item.held)
            if size <= disk and fetch <= fill:
                best = max(best, value(list(subset)))
    return best


@given(ITEMS, BYTES, BYTES)
def test_disk_and_transfer_are_never_exceeded(items: list[Item], disk: int, fill: int) -> None:
    """Whatever is offered."""
    chosen = choose(items, Bin(disk, fill, 0.0))
    assert sum(item.size_bytes for item in chosen) <= disk
    assert sum(item.size_bytes for item in chosen if not item.held) <= fill


@given(ITEMS, BYTES, BYTES)
def test_the_value_is_within_one_item_per_limit_of_the_optimum(
    items: list[Item], disk: int, fill: int
) -> None:
    """At most one asset is cut by the disk and one by the transfer (brute force over subsets)."""
    usable = [item for item in items if item.size_bytes <= disk]
    largest = max((item.density * item.size_bytes for item in usable), default=0.0)
    chosen = value(choose(items, Bin(disk, fill, 0.0)))
    assert chosen >= optimum(items, disk, fill) - 2 * largest - 1e-6
    unlimited = value(choose(items, Bin(disk, 10**9, 0.0)))
    assert unlimited >= optimum(items, disk, 10**9) - largest - 1e-6


@given(ITEMS, BYTES, BYTES, st.sampled_from([0.0, 0.5, 2.0]))
def test_what_is_above_its_threshold_is_there_unless_it_met_a_limit(
    items: list[Item], disk: int, fill: int, price: float
) -> None:
    """Kept above τ, fetched above τ + μ; nothing is fetched that does not pay."""
    bin_ = Bin(disk, fill, price)
    chosen = choose(items, bin_)
    bars = bin_.thresholds()
    for item in items:
        bar = bars.tau if item.held else bars.tau + bars.mu
        if item.density > bar + 1e-9 and item.size_bytes <= disk:
            assert item in chosen
    assert all(item.held or item.density > price for item in chosen)


@given(ITEMS, BYTES, BYTES, st.randoms())
def test_the_order_of_offers_does_not_matter(
    items: list[Item], disk: int, fill: int, random: object
) -> None:
    """Equal inputs, equal plan."""
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' random has no type
    assert choose(items, Bin(disk, fill, 0.1)) == choose(shuffled, Bin(disk, fill, 0.1))


def test_a_small_gain_does_not_move_bytes() -> None:
    """What is there stays unless the newcomer beats it by more than the price of a fetch."""
    held, rival = Item(1, 10, 1.0, True), Item(2, 10, 1.2, False)
    assert choose([held, rival], Bin(10, 100, price=0.5)) == [held]
    assert choose([held, rival], Bin(10, 100, price=0.1)) == [rival]


def test_refusals_say_what_ran_out() -> None:
    """Each limit has a reason of its own."""
    bin_ = Bin(disk_bytes=100, fill_bytes=30, price=0.1)
    assert bin_.offer(9.0, 200, held=False) is Refusal.SIZE
    assert bin_.offer(8.0, 30, held=False) is None
    assert bin_.offer(7.0, 10, held=False) is Refusal.FILL
    assert bin_.offer(6.0, 60, held=True) is None
    assert bin_.offer(5.0, 20, held=True) is Refusal.DISK
    assert bin_.offer(0.05, 1, held=False) is Refusal.PRICE
    bars = bin_.thresholds()
    assert (bars.tau, bars.tau + bars.mu) == (5.0, 7.0)
    assert worth(1.0, False, 0.1) < worth(1.0, True, 0.1)
