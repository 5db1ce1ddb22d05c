"""What an operator may set for pull-through. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oca.cache.registry import DEFAULT, POLICIES
from wire.errors import WireError
from wire.knobs import knob


@dataclass(frozen=True, slots=True)
class Through:
    """What is done with what the plan does not cover, and how it is kept."""

    policy: Literal["404", "redirect", "fetch"] = knob(
        "404", why="What is not stored: not found; sent to `redirect_url`; or fetched and kept."
    )
    redirect_url: str = knob(
        "", why="Base URL that `redirect` sends players to: whom steering would name next."
    )
    upstream: str = knob("", why="Base URL that `fetch` asks; nothing else is ever asked.")
    audience: str = knob(
        "origin",
        why="Id of the appliance at `upstream`, for whom we sign requests with our key.",
    )
    folder: str = knob(
        "", why="Where fetched chunks are kept; empty: `through/` in the first disk."
    )
    dynamic_bytes: int = knob(
        10 * 1024**3, low=16 * 1024**2, high=2**60, why="Room on the disk; the plan's is beside it."
    )
    evict: str = knob(DEFAULT, why="Eviction policy (`oca simulate --help` lists them); measured.")
    second_request: bool = knob(
        False, why="Store on the second request only: half the writes, somewhat more misses."
    )
    ahead_chunks: int = knob(
        16, low=2, high=1024, why="MiB fetched ahead of the fastest reader: hides latency, no more."
    )
    upstream_parallel: int = knob(
        64, low=1, high=10_000, why="Requests to the upstream at once; the rest wait their turn."
    )
    connect_s: float = knob(3.0, low=0.1, high=60, why="An upstream that is away is 504 after it.")
    head_s: float = knob(
        10.0, low=0.1, high=300, why="How long an upstream may think before its answer begins."
    )
    stall_s: float = knob(
        10.0, low=0.1, high=300, why="No byte for this long: the rest is asked for once more."
    )
    linger_s: float = knob(
        5.0, low=0.0, high=300, why="A fetch that nobody reads on is ended after it."
    )
    negative_s: float = knob(
        5.0, low=0, high=3600, why="How long a 404 is believed that does not say it itself."
    )
    failed_s: float = knob(
        1.0, low=0, high=60, why="A failing upstream is asked for an object once within it."
    )
    stale_s: float = knob(
        86_400.0, low=0, high=30 * 86_400, why="Upstream unreachable: what is this stale is served."
    )


def check(knobs: Through, what: str) -> None:
    """Raise WireError when the settings of file `what` do not go together."""
    needed = {"fetch": "upstream", "redirect": "redirect_url"}.get(knobs.policy, "")
    url = getattr(knobs, needed) if needed else "http://"
    if not url.startswith(("http://", "https://")):
        detail = f"policy {knobs.policy!r} needs an http:// or https:// URL here"
        raise WireError(what, f"through.{needed}", detail)
    if knobs.evict not in POLICIES:
        names = ", ".join(POLICIES)
        raise WireError(what, "through.evict", f"no policy {knobs.evict!r}", hint=f"try {names}")
