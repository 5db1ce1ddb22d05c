"""What an operator may set for the agent: whom it talks to, and how it fills. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wire.knobs import knob


@dataclass(frozen=True, slots=True)
class Agent:
    """The appliance's own errands: its plan, its heartbeats, its counts, its drops."""

    site: str = knob("", why="The site's id in the fleet file; batches of counted bytes carry it.")
    fill: str = knob("", why="Base URL of `fill serve`; empty: no plan, no events.")
    steering: list[str] = knob([], why="Base URLs of every steering replica; all are told.")
    key_file: str = knob("", why="PEM file of the box's own Ed25519 key; it signs all it says.")
    plan_keys: dict[str, str] = knob({}, why="Who may sign plans: kid → `ed25519:…`.")
    routes_file: str = knob("", why="Announced prefixes, as the fleet's routers told them.")
    tls_ca: str = knob(
        "", why="PEM file of a private CA that fill, steering and sources have; empty: public ones."
    )
    link_bps: int = knob(
        1_000_000_000, low=1_000_000, high=10**13, why="What the box can send; admit is set by it."
    )
    heartbeat_s: float = knob(
        10.0, low=0.1, high=60, why="A box silent for three of them is not offered to players."
    )
    report_pause_s: float = knob(
        0.5, low=0.05, high=60, why="Changes of the inventory within it travel as one."
    )
    plan_poll_s: float = knob(
        30.0, low=0.1, high=3600, why="Plans are nightly, but an operator's rollback is not."
    )
    purge_poll_s: float = knob(
        30.0, low=0.1, high=300, why="How long an urgent purge may take to reach a box."
    )
    events_s: float = knob(
        10.0, low=0.1, high=300, why="How old counted bytes may be before they are put in a batch."
    )
    timeout_s: float = knob(
        10.0, low=0.1, high=300, why="A control answer later than this will not come."
    )
    answer_ttl_s: float = knob(
        60.0, low=1, high=86_400, why="Steering's usual TTL: a change of admit shows this late."
    )
    drop_ttl_s: float = knob(
        300.0, low=0, high=86_400, why="Longest TTL of steering's answers: players may still come."
    )
    drop_idle_s: float = knob(
        300.0, low=0, high=86_400, why="An asset is unlinked when nobody asked for it this long."
    )
    drop_bound_s: float = knob(
        21_600.0, low=0, high=7 * 86_400, why="Life of a token: no drop waits longer for the idle."
    )


@dataclass(frozen=True, slots=True)
class Fill:
    """How the agent fetches what the plan wants."""

    window: str = knob("", why="HH:MM-HH:MM local time, off the evening peak; empty: always.")
    timezone: str = knob(
        "", why="Whose local time: Europe/Paris; empty: the machine's own, which is often UTC."
    )
    rate_bps: int = knob(
        0, low=0, high=10**13, why="Bits per second of all fetching together; 0: no limit."
    )
    budget_bytes: int = knob(
        0, low=0, high=2**60, why="What one night may pull, whatever plans allow; 0: theirs."
    )
    capacity_bytes: int = knob(
        0, low=0, high=2**60, why="What assets may take on the disks; 0: all but the reserve."
    )
    reserve_bytes: int = knob(
        1024**3, low=0, high=2**50, why="Kept free on each disk: a full file system is slow."
    )
    assets_parallel: int = knob(
        4, low=1, high=256, why="Assets gathered at once: hides latency, delays the first one."
    )
    files_parallel: int = knob(
        4, low=1, high=64, why="Files of one asset at once: an episode may have 1,200 small ones."
    )
    source_parallel: int = knob(
        16, low=1, high=256, why="Requests at one source at most; how many it bears is found out."
    )
    connect_s: float = knob(
        3.0, low=0.1, high=60, why="A source that does not answer this soon is away."
    )
    stall_s: float = knob(
        10.0, low=0.1, high=300, why="No byte from a source for this long: the next one is asked."
    )
    patience_s: float = knob(
        20.0, low=0, high=3600, why="How long a box waits for a peer's copy without a sign of it."
    )
    yield_answer_s: float = knob(
        0.05, low=0.001, high=10, why="When workers answer later than this, viewers need the cores."
    )
    yield_disk_s: float = knob(
        0.1, low=0.001, high=10, why="When one read takes longer, viewers need the disk."
    )
    nice: int = knob(
        10, low=0, high=19, why="The agent's niceness: workers come first when cores are short."
    )
    cores: list[int] = knob([], why="Cores that the agent keeps to; empty: any.")
    io_class: Literal["idle", "low", "normal"] = knob(
        "low", why="I/O priority of fill's writes where the scheduler heeds it; idle may starve."
    )
