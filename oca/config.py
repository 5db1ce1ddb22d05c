"""What an operator may set for one appliance: a TOML file, every knob with unit, bounds and reason.

Pure: reading the file is the caller's work. Paths may be relative to the file's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Literal

from oca.agent.knobs import Agent, Fill
from oca.seats import DISKS_MAX
from oca.through.knobs import Through
from oca.through.knobs import check as check_through
from oca.tokens import Tokens, verify_keys
from wire.errors import WireError
from wire.ids import ApplianceId
from wire.keys import VerifyKey
from wire.knobs import knob, read_config, required
from wire.window import parse_window


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a peer may take. Each one that runs out closes with a reason of its own."""

    handshake_s: float = knob(
        4.0, low=0.5, high=60, why="TLS takes two round trips at most; the rest is an attack."
    )
    head_s: float = knob(
        4.0, low=0.5, high=60, why="A head is one packet; whoever takes longer holds a slot."
    )
    body_s: float = knob(
        4.0, low=0.5, high=60, why="We serve files: a request body is only drained, never needed."
    )
    idle_s: float = knob(
        60.0, low=1, high=3600, why="Players pause between segments; a new handshake costs them."
    )
    disk_s: float = knob(
        10.0, low=0.1, high=600, why="A file not opened by then is a 503: players go elsewhere."
    )
    send_stalled_s: float = knob(
        30.0, low=1, high=600, why="No byte taken for this long: the player is gone or frozen."
    )
    response_s: float = knob(
        3600.0, low=10, high=86_400, why="Even a slow client gets a long range within an hour."
    )
    linger_s: float = knob(
        2.0, low=0.1, high=4.5, why="So that a refused client reads the answer and not a reset."
    )
    drain_s: float = knob(
        30.0, low=0, high=3600, why="On SIGTERM what is being sent may be finished within this."
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker spends on its peers."""

    connections: int = knob(
        16_000, low=16, high=1_000_000, why="Below the usual 20,000 open files of a process."
    )
    connections_per_address: int = knob(
        8_192, low=1, high=1_000_000, why="Carrier NAT puts thousands of viewers on one address."
    )
    requests_per_connection: int = knob(
        1_000_000, low=1, high=10**9, why="Lets a drained box shed even its most faithful clients."
    )
    memory_files_bytes: int = knob(
        64 * 1024 * 1024, low=0, high=2**40, why="Small hot files are sent with their head at once."
    )
    open_files: int = knob(
        2_048, low=16, high=500_000, why="Descriptors kept open; the rest are opened when asked."
    )
    tokens: int = knob(
        65_536, low=16, high=10**7, why="A token is verified once, then remembered (~1 kB)."
    )


@dataclass(frozen=True, slots=True)
class Pacing:
    """How fast one answer may leave (SO_MAX_PACING_RATE); anything set costs the shortest way."""

    rate_bps: int = knob(
        0, low=0, high=30_000_000_000, why="Of every answer, bits per second; 0: as fast as it can."
    )
    by_player: bool = knob(False, why="Obey `rtp` (CMCD) or `Pace-Bps`, within the bounds below.")
    lowest_bps: int = knob(
        1_000_000, low=10_000, high=30_000_000_000, why="Below it a player starves by mistake."
    )
    highest_bps: int = knob(
        1_000_000_000, low=10_000, high=30_000_000_000, why="Above it pacing has no meaning."
    )

    @property
    def is_on(self) -> bool:
        """Whether any answer may be paced."""
        return self.by_player or self.rate_bps > 0


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS 1.2 and 1.3 from files; they are looked at every few seconds, no restart is needed."""

    cert: str = knob("", why="PEM chain for every name that has none of its own; empty: no TLS.")
    key: str = knob("", why="PEM private key of `cert`.")
    names: dict[str, str] = knob(
        {}, why="Certificates by host name (SNI): name → one PEM file with chain and key."
    )


@dataclass(frozen=True, slots=True)
class AccessLogKnobs:
    """Who asked for what, for those who must know."""

    file: str = knob("", why="Every worker appends JSON lines to it; empty: no access log.")
    one_in: int = knob(
        1, low=1, high=1_000_000, why="Log one answer in so many: at full rate all are gigabytes."
    )


@dataclass(frozen=True, slots=True)
class DiskKnobs:
    """How the disks are watched; one that fails is switched off by itself, the rest goes on."""

    mounts: bool = knob(
        True, why="Each of `disks` is a mount point: one that is not is missing; false: labs."
    )
    probe_s: float = knob(
        2.0, low=0.05, high=60, why="Each disk is written to and read from this often, a little."
    )
    slow_s: float = knob(
        1.0, low=0.01, high=60, why="A probe slower than this, several times on end: off it goes."
    )
    hang_s: float = knob(
        8.0, low=0.1, high=300, why="A probe that takes longer will not come back."
    )
    back_s: float = knob(
        30.0,
        low=0.1,
        high=3600,
        why="Well for this long before it is used again; doubles each time.",
    )


@dataclass(frozen=True, slots=True)
class Scrub:
    """Everything stored is read again and again, so that rot is found before a viewer finds it."""

    rate_bytes_s: int = knob(
        50_000_000, low=0, high=10**11, why="100 TB in 23 days; 0: nothing is read again."
    )
    every_s: float = knob(
        14 * 86_400.0, low=1, high=10**9, why="No asset is read again before; disks wear, too."
    )


@dataclass(frozen=True, slots=True)
class Config:
    """One appliance, or the origin's server."""

    id: ApplianceId = required("The name in the fleet file; also the pathway id in manifests.")
    run: str = required("Folder for counters, outbox and accepted plan; survives restarts.")
    store: str = knob("", why="Folder of what is stored: `a/<asset>/…`; owned by this box alone.")
    disks: list[str] = knob(
        [], why="Instead of `store`: one folder a disk, without RAID; assets spread by size."
    )
    listen: str = knob("0.0.0.0:8080", why="HOST:PORT for players; one port on all hosts.")
    admin: str = knob("", why="HOST:PORT for /metrics and /healthz; never the public one.")
    scheme: Literal["http", "https"] = knob(
        "http", why="The scheme in signed URLs; `https` when something in front ends TLS."
    )
    role: Literal["appliance", "origin"] = knob(
        "appliance", why="The origin holds everything, fetches nothing, serves everybody."
    )
    clients: Literal["announced", "any"] = knob(
        "announced", why="Serve only clients inside prefixes announced to this site; any: labs."
    )
    workers: int = knob(0, low=0, high=512, why="Data-plane processes; 0: one per core.")
    token_keys: dict[str, str] = knob(
        {}, why="Who may sign URLs: kid → `es256:…`, `ed25519:…` or `hs256:…` (stand-alone)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = knob(
        "info", why="Refusals and closes are logged at info and below."
    )
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    tls: Tls = field(default_factory=Tls)
    tokens: Tokens = field(default_factory=Tokens)
    pacing: Pacing = field(default_factory=Pacing)
    access_log: AccessLogKnobs = field(default_factory=AccessLogKnobs)
    disk: DiskKnobs = field(default_factory=DiskKnobs)
    scrub: Scrub = field(default_factory=Scrub)
    agent: Agent = field(default_factory=Agent)
    fill: Fill = field(default_factory=Fill)
    through: Through = field(default_factory=Through)

    @property
    def through_folder(self) -> str:
        """Where fetched chunks are kept."""
        return self.through.folder or f"{self.disk_paths[0]}/through"

    @property
    def disk_paths(self) -> list[str]:
        """The folder of each disk: one, or several."""
        return self.disks or [self.store]

    @property
    def disks_are_mounts(self) -> bool:
        """Whether a disk's folder that is no mount point is a disk that is missing."""
        return bool(self.disks) and self.disk.mounts

    @property
    def serves_anybody(self) -> bool:
        """Whether clients outside the announced prefixes are served as well."""
        return self.clients == "any" or self.role == "origin"

    def verify_keys(self) -> dict[str, VerifyKey]:
        """The keys that may have signed a URL, by kid; raises WireError naming the bad one."""
        return verify_keys(self.token_keys)


def read(raw: bytes, what: str) -> Config:
    """Read the TOML of one appliance; `what` is the file's name. Raises WireError with the field.

    Relative paths come back joined to the folder of `what`.
    """
    config = read_config(Config, raw, what)
    for name in ("listen", "admin"):
        text = getattr(config, name)
        if text or name == "listen":
            split_address(text, f"{what}: {name}")
    _check_tokens(config, what)
    parse_window(config.fill.window, config.fill.timezone, f"{what}: fill")
    _check_disks(config, what)
    check_through(config.through, what)
    folder = PurePath(what).parent
    agent = replace(
        config.agent,
        key_file=_inside(folder, config.agent.key_file),
        routes_file=_inside(folder, config.agent.routes_file),
        tls_ca=_inside(folder, config.agent.tls_ca),
    )
    access_log = replace(config.access_log, file=_inside(folder, config.access_log.file))
    tls = _tls(config, folder, what)
    store, run = _inside(folder, config.store), _inside(folder, config.run)
    disks = [_inside(folder, path) for path in config.disks]
    return replace(
        config, store=store, disks=disks, run=run, agent=agent, access_log=access_log, tls=tls,
        through=replace(config.through, folder=_inside(folder, config.through.folder)),
    )  # fmt: skip


def _check_disks(config: Config, what: str) -> None:
    if bool(config.store) == bool(config.disks):
        raise WireError(what, "store", "say either `store` (one folder) or `disks` (several)")
    if len(set(config.disks)) < len(config.disks) or len(config.disks) > DISKS_MAX:
        raise WireError(what, "disks", f"each disk once, at most {DISKS_MAX}")
    if config.disks and config.role == "origin":
        raise WireError(what, "disks", "the origin's tree is one folder: `store`")


def _check_tokens(config: Config, what: str) -> None:
    config.verify_keys()
    config.tokens.policy()
    shared = [kid for kid, text in config.token_keys.items() if text.startswith("hs256:")]
    if shared and config.agent.key_file:
        detail = "a secret signs as well as it verifies: a box of a fleet holds public keys only"
        raise WireError(what, f"token_keys.{shared[0]}", detail, hint="es256:… or ed25519:…")


def _tls(config: Config, folder: PurePath, what: str) -> Tls:
    tls = config.tls
    if bool(tls.cert) != bool(tls.key) or (tls.names and not tls.cert):
        raise WireError(what, "tls", "cert and key come together, and before names")
    if tls.cert and config.scheme != "https":
        raise WireError(what, "scheme", "with [tls] the scheme in signed URLs is https")
    names = {name: _inside(folder, path) for name, path in tls.names.items()}
    return Tls(_inside(folder, tls.cert), _inside(folder, tls.key), names)


def _inside(folder: PurePath, path: str) -> str:
    return str(folder / path) if path else ""


def split_address(text: str, what: str) -> tuple[str, int]:
    """`HOST:PORT` or `[V6]:PORT` → (host, port); raises WireError naming `what`."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise WireError(what, "", f"{text!r} is not HOST:PORT", hint="127.0.0.1:8080 or [::]:8080")
    return host, int(port)
