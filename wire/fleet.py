"""The fleet file: which sites and appliances there are, by the operator, without secrets."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from wire.codec import convert
from wire.errors import WireError
from wire.ids import ORIGIN_ID, ApplianceId, Count, SiteId, SiteKind
from wire.keys import VerifyKey, parse_verify_key
from wire.window import Window, parse_window

Asn = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Wanted(StrEnum):
    """What the operator wants of an appliance."""

    IN_SERVICE = "in_service"
    DRAINED = "drained"


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A place whose appliances fill and serve together; degrees are WGS 84, for the last ties.
    `region` is a name of the operator's (a country, a market): licences and forecasts go by it.
    `asns`: networks it serves even when no route of theirs is reported; `open`: it serves clients
    that nothing else locates (its appliances need `clients = "any"` for both). `window`
    (02:00-14:00) at `timezone` (an IANA name, "" is UTC) is when its boxes fill, as their own files
    say: the planner counts on it; without one it counts on `plan.window_s` from now on."""

    id: SiteId
    kind: SiteKind
    region: Annotated[str, Meta(max_length=64)] = ""
    latitude_deg: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude_deg: Annotated[float, Meta(ge=-180, le=180)] | None = None
    asns: Annotated[tuple[Asn, ...], Meta(max_length=1024)] = ()
    open: bool = False
    window: str = ""
    timezone: str = ""

    def hours(self) -> Window | None:
        """When its boxes fill, if that is told; raises WireError."""
        if not self.window:
            return None
        return parse_window(self.window, self.timezone or "UTC", f"site {self.id}: window")


class Appliance(msgspec.Struct, frozen=True, kw_only=True):
    """One box: `hosts` are the names or addresses players reach it by, first one preferred."""

    id: ApplianceId
    site: SiteId
    public_key: str
    hosts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)]
    disks_bytes: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=64)]
    link_bps: Annotated[int, Meta(ge=1_000_000, le=10**13)]
    origin_asns: tuple[Asn, ...] = ()
    state: Wanted = Wanted.IN_SERVICE

    @property
    def disk_bytes(self) -> int:
        """All its disks together."""
        return sum(self.disks_bytes)


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The whole fleet. All data-plane hosts share one scheme and one port: players drop ports
    in Content Steering clones."""

    version: Literal[1] = 1
    scheme: Literal["http", "https"] = "https"
    port: Annotated[int, Meta(ge=1, le=65535)] = 443
    sites: tuple[Site, ...] = msgspec.field(name="site")
    appliances: tuple[Appliance, ...] = msgspec.field(name="appliance")

    def site(self, site_id: str) -> Site | None:
        """The site of that id, if there is one."""
        return next((site for site in self.sites if site.id == site_id), None)

    def appliance(self, appliance_id: str) -> Appliance | None:
        """The appliance of that id, if there is one."""
        return next((box for box in self.appliances if box.id == appliance_id), None)

    def at_site(self, site_id: str) -> tuple[Appliance, ...]:
        """The appliances of one site, in the file's order."""
        return tuple(box for box in self.appliances if box.site == site_id)

    def base_url(self, appliance: Appliance) -> str:
        """Where players and peers reach an appliance: scheme, first host, port; no slash at end."""
        host = appliance.hosts[0]
        host = f"[{host}]" if ":" in host else host
        default = {"http": 80, "https": 443}[self.scheme]
        port = "" if self.port == default else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def public_keys(self) -> Mapping[str, VerifyKey]:
        """Appliance id → the key its signatures are checked with."""
        return {
            box.id: parse_verify_key(box.public_key, f"appliance {box.id}: public_key")
            for box in self.appliances
        }


KNOWN_MAX = 4  # a replica reads the same text a few times: configured, running, drafted
_known: dict[str, Fleet] = {}


def remember(digest: str, fleet: Fleet) -> None:
    """The text of this SHA-256 was read before, and this is what it says."""
    while len(_known) >= KNOWN_MAX:
        del _known[next(iter(_known))]
    _known[digest] = fleet


def read_fleet(raw: bytes, what: str = "fleet file") -> Fleet:
    """Read and cross-check a fleet file (TOML); raises WireError naming the entry at fault.

    The same text again costs nothing: 10,000 boxes take seconds.
    """
    digest = hashlib.sha256(raw).hexdigest()
    known = _known.get(digest)
    if known is None:
        known = _read(raw, what)
        remember(digest, known)
    return known


def _read(raw: bytes, what: str) -> Fleet:
    try:
        tree = tomllib.loads(raw.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise WireError(what, "", f"this is not TOML: {exc}") from exc
    fleet = convert(Fleet, tree, what)
    _check(fleet, what)
    return fleet


def _check(fleet: Fleet, what: str) -> None:
    sites: dict[str, Site] = {}
    for index, site in enumerate(fleet.sites):
        if site.id in sites:
            raise WireError(what, f"site[{index}].id", f"{site.id} is there twice")
        sites[site.id] = site
        _check_window(site, what, f"site[{index}]")
    seen: set[str] = set()
    for index, box in enumerate(fleet.appliances):
        where = f"appliance[{index}]"
        if box.id in seen:
            raise WireError(what, f"{where}.id", f"{box.id} is there twice")
        if box.site not in sites:
            raise WireError(what, f"{where}.site", f"there is no site {box.site}")
        if (box.id == ORIGIN_ID) != (sites[box.site].kind is SiteKind.ORIGIN):
            raise WireError(
                what, f"{where}.id", f"{ORIGIN_ID!r} is the one appliance of the origin site"
            )
        if parse_verify_key(box.public_key, f"{what}: {where}.public_key").alg != "EdDSA":
            detail = "an appliance's key is an ed25519 one: its public half is all others may have"
            raise WireError(what, f"{where}.public_key", detail, hint="ed25519:…, by oca keygen")
        seen.add(box.id)


def _check_window(site: Site, what: str, where: str) -> None:
    """A window that is none, or that never opens, would leave its boxes empty."""
    if site.timezone and not site.window:
        hint = 'window = "02:00-14:00"'
        raise WireError(what, f"{where}.window", "there is a timezone and no window", hint=hint)
    try:
        site.hours()
    except WireError as exc:
        field = "timezone" if "time zone" in exc.detail else "window"
        raise WireError(what, f"{where}.{field}", exc.detail, hint=exc.hint) from exc
