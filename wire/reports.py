"""What an appliance tells steering about itself: heartbeat, inventory, routes.

Order is (boot, seq): `boot` grows with every start of the agent, `seq` with every message of that
kind. Staleness runs on the receiver's monotonic clock, so no clock of the sender matters.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Collection
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pyroaring import BitMap

from wire.errors import WireError
from wire.fleet import Asn
from wire.ids import ApplianceId, Count, Epoch, Share
from wire.seats import DISKS_MAX

# All networks there are come to ~670,000 prefixes of bearable length (shared/data); an appliance
# that claims to be the place for more than that is at fault.
ROUTES_MAX = 750_000
PREFIX_BITS_MIN = 8
PREFIX_BITS_MAX = {4: 24, 6: 48}
AS_PATH_MAX = 255  # one AS_SEQUENCE segment (RFC 4271 §4.3)
COMMUNITIES_MAX = 64  # of one route; they are for people, nothing is decided by them

OriginCode = Literal["igp", "egp", "incomplete"]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """How an appliance feels. `health` is 1 when well, 0 when it must not serve, `why` names the
    worst component; `admit` is the share of its normal load that it wants (it decides, with
    hysteresis; replicas only apply it). Rates are bits per second of the last interval."""

    version: Literal[1] = 1
    appliance: ApplianceId
    epoch: Epoch
    boot: Count
    seq: Count
    health: Share
    admit: Share = 1.0
    why: str = ""
    served_bps: Count = 0
    capacity_bps: Count = 0
    connections: Count = 0
    draining: bool = False
    inventory_seq: Count = 0
    routes_seq: Count = 0
    generation: Count = 0


class HeartbeatReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica wants next, so that its view heals by itself after either side restarts."""

    send_inventory: bool = False
    send_routes: bool = False


class DiskTold(msgspec.Struct, frozen=True, kw_only=True):
    """One disk of a box: assets are hashed to it by `key` and its size (wire.seats); whether it is
    in use. The share of one that is not is stored nowhere else in the box."""

    key: Annotated[str, Meta(max_length=64)]
    bytes: Annotated[int, Meta(ge=1, le=2**62)]
    live: bool = True


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """The assets an appliance holds whole and verified, as roaring bitmaps in base64.

    Full: `base_seq` is None and `added` is everything. Delta: what was added and removed since the
    inventory numbered `base_seq`; a receiver that does not have that one asks for a full one.
    `disks` are all of its disks, said as long as one of them is switched off.
    """

    version: Literal[1] = 1
    appliance: ApplianceId
    epoch: Epoch
    boot: Count
    seq: Count
    base_seq: Count | None = None
    added: str
    removed: str = ""
    disks: Annotated[tuple[DiskTold, ...], Meta(max_length=DISKS_MAX)] | UnsetType = UNSET


class InventoryReply(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver holds the inventory numbered (`boot`, `seq`), or wants a full one."""

    boot: Count
    seq: Count
    send_full: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One prefix announced to an appliance by BGP (RFC 4271); the origin AS ends the path."""

    prefix: str
    as_path: Annotated[tuple[Asn, ...], Meta(max_length=AS_PATH_MAX)] = ()
    local_pref: Count = 100
    med: Count = 0
    origin_code: OriginCode = "igp"
    communities: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=COMMUNITIES_MAX)
    ] = ()


class Routes(msgspec.Struct, frozen=True, kw_only=True):
    """All routes an appliance has now; it replaces what it reported before."""

    version: Literal[1] = 1
    appliance: ApplianceId
    epoch: Epoch
    boot: Count
    seq: Count
    routes: Annotated[tuple[Route, ...], Meta(max_length=ROUTES_MAX)]


class RoutesReply(msgspec.Struct, frozen=True, kw_only=True):
    """How many routes were taken, and what was dropped one by one: reason → count."""

    taken: Count
    dropped: dict[str, int]


def route_fault(route: Route, origin_asns: Collection[int]) -> str:
    """Why this route is not taken ("" when it is): bounds of length, or a foreign origin AS.

    An empty `origin_asns` allows any. A site may only attract clients of networks it serves.
    """
    _, _, bits = route.prefix.partition("/")
    try:
        if not (bits.isascii() and bits.isdigit()) or "%" in route.prefix:
            return "not a prefix"  # ipaddress takes netmasks and zones too, a route table does not
        network = ipaddress.ip_network(route.prefix)
    except ValueError:
        return "not a prefix"
    if network.prefixlen < PREFIX_BITS_MIN:
        return "shorter than /8"
    if network.prefixlen > PREFIX_BITS_MAX[network.version]:
        return f"longer than /{PREFIX_BITS_MAX[network.version]}"
    if origin_asns and (not route.as_path or route.as_path[-1] not in origin_asns):
        return "origin AS not allowed"
    return ""


def pack_bitmap(assets: BitMap) -> str:
    """A roaring bitmap (portable serialization) in base64."""
    return base64.b64encode(assets.serialize()).decode()


def unpack_bitmap(text: str, what: str) -> BitMap:
    """The bitmap of `pack_bitmap`; "" is empty. Raises WireError when it is not one."""
    if not text:
        return BitMap()
    try:
        return BitMap.deserialize(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, IndexError) as exc:
        raise WireError(what, "", "this is not a roaring bitmap in base64") from exc
