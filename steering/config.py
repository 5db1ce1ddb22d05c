"""What an operator may set for a steering replica: a TOML file, every knob with its reason.

Pure: reading files is the caller's work. Paths may be relative to the file's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from steering.policy import Policy
from wire.knobs import knob, required


@dataclass(frozen=True, slots=True)
class Tokens:
    """How URLs are signed (RFC 9246)."""

    key_file: str = required("PEM file of the key that signs URLs and our polls; ES256 or Ed25519.")
    kid: str = required("The name under which appliances and fill know its public half.")
    issuer: str = knob("steering", why="`iss` in every token: whose word it is.")
    bucket_s: float = knob(
        900.0, low=1, high=86_400, why="One signature serves all sessions of a title for this long."
    )
    life_s: float = knob(
        21_600.0, low=10, high=604_800, why="A session that began in the bucket may last this long."
    )


@dataclass(frozen=True, slots=True)
class Reports:
    """What appliances send, and when their silence counts."""

    heartbeat_s: float = knob(
        10.0, low=0.1, high=600, why="The interval of the appliances' heartbeats."
    )
    missed_max: int = knob(
        3, low=1, high=100, why="One lost packet is chance; more missing than this is silence."
    )
    body_bytes_max: int = knob(
        256 * 1024 * 1024, low=65_536, high=2**32, why="A full table of routes has ~150 MB."
    )


@dataclass(frozen=True, slots=True)
class Records:
    """The record of each decision, for `steering replay`."""

    file: str = knob("", why="JSON lines; empty: decisions.jsonl in the folder `state`.")
    per_s: int = knob(
        1_000,
        low=0,
        high=100_000,
        why="Beyond it records are left out and counted: one costs 20 µs of the core; 0: none.",
    )
    queue: int = knob(
        5_000, low=1, high=1_000_000, why="Waiting while the disk is slow; ~2 kB each."
    )
    file_bytes: int = knob(
        64 * 1024**2, low=65_536, high=2**40, why="A file of this size is rotated."
    )
    files: int = knob(4, low=1, high=1_000, why="Files kept, the one being written among them.")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Where titles come from, and how fresh they are."""

    url: str = required("Base URL of `fill serve`, which knows the catalogue.")
    poll_s: float = knob(
        10.0, low=0.1, high=3600, why="A new title is known this late; an answer of 304 is cheap."
    )
    timeout_s: float = knob(
        10.0, low=0.1, high=600, why="Whoever takes longer is asked again later; we have a copy."
    )
    fetches: int = knob(
        4, low=1, high=64, why="Manifests fetched at once: the origin has better to do."
    )


@dataclass(frozen=True, slots=True)
class Config:
    """One steering replica."""

    fleet: str = required("The fleet file.")
    state: str = required("Folder of the snapshot: fleet state, titles and manifests.")
    catalogue: Catalogue = required("Where titles come from.")
    tokens: Tokens = required("How URLs are signed.")
    listen: str = knob("0.0.0.0:8090", why="HOST:PORT for players and appliances.")
    admin: str = knob(
        "127.0.0.1:9481", why="HOST:PORT for explain, fleet, drain and metrics; never public."
    )
    public_url: str = knob(
        "", why="Base URL in manifests, where players reach us; empty: what the request says."
    )
    asn_table: str = knob(
        "",
        why="CSV (.gz): PREFIX or FIRST,LAST, then the AS. Clients of a site's `asns` find it.",
    )
    place_table: str = knob(
        "",
        why="CSV (.gz): PREFIX or FIRST,LAST, latitude, longitude. Ranks `open` sites.",
    )
    proxies: list[str] = knob([], why="Whose `Forwarded` (RFC 7239) is believed: prefixes.")
    snapshot_s: float = knob(
        5.0, low=0.2, high=3600, why="A restarted replica knows the fleet as it was this long ago."
    )
    queue_s: float = knob(
        0.02,
        low=0.001,
        high=1,
        why="Nobody waits longer in line: what comes beyond is told at once to wait or come back.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = knob(
        "info", why="Decisions have a file of their own (`records`)."
    )
    policy: Policy = field(default_factory=Policy)
    reports: Reports = field(default_factory=Reports)
    records: Records = field(default_factory=Records)
