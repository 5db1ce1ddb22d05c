"""Who stands where in the demo: sites, boxes, addresses, disks, and every process's settings. Pure.

ISPs are loopback prefixes, so that "a client in ISP A" is a socket bound to 127.16.x.y. Timers are
shorter than in the field: here a night takes seconds, and so does noticing that a box is silent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PORT = 18080
ORIGIN_HOST = "127.10.0.9"
FILL = "127.10.0.2:18090"
STEERING = "127.10.0.3:18090"
STEERING_ADMIN = "127.0.0.1:9481"
FILL_ADMIN = "127.0.0.1:9482"
PROXY_HOST = "127.10.0.4"
PAGE = "127.0.0.1:18088"
LINK_BPS = 10_000_000_000
HEARTBEAT_S = 1.0
STEERING_TTL_S = 3
# Disk kept free for what comes in while the old still stands.
RESERVE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Isp:
    """A network of viewers: its home site, name, prefix, AS number, and one viewer's address."""

    site: str
    name: str
    prefix: str
    asn: int

    @property
    def clients(self) -> str:
        """The first two bytes of its viewers' addresses."""
        return ".".join(self.prefix.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Place:
    """A site: id, kind, and how people call it."""

    id: str
    kind: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Box:
    """An appliance: id, site, address, and the share of all bytes that its disks hold."""

    id: str
    site: str
    host: str
    disk_share: float


ISPS = (
    Isp("isp-a", "ISP A", "127.16.0.0/16", 64501),
    Isp("isp-b", "ISP B", "127.17.0.0/16", 64502),
)
PLACES = (
    Place("isp-a", "embedded", "ISP A", "inside ISP A"),
    Place("isp-b", "embedded", "ISP B", "inside ISP B"),
    Place("exchange", "ix", "Exchange", "at the exchange where both ISPs meet"),
    Place("origin", "origin", "Origin", "far away; the last resort"),
)
BOXES = (
    Box("a1", "isp-a", "127.11.0.1", 0.50),
    Box("a2", "isp-a", "127.11.0.2", 0.42),
    Box("b1", "isp-b", "127.12.0.1", 0.58),
    Box("x1", "exchange", "127.13.0.1", 0.60),
    Box("x2", "exchange", "127.13.0.2", 0.44),
)
ORIGIN = Box("origin", "origin", ORIGIN_HOST, 2.0)
SERVERS = (*BOXES, ORIGIN)
SITE_OF = {box.id: box.site for box in SERVERS}
BOX_OF_HOST = {box.host: box.id for box in SERVERS}


def fleet_file(public_keys: Mapping[str, str], total_bytes: int) -> str:
    """The fleet file (TOML); `public_keys` by appliance id, `total_bytes` is all there is."""
    sites = [{"id": place.id, "kind": place.kind} for place in PLACES]
    boxes = [
        {
            "id": box.id,
            "site": box.site,
            "public_key": public_keys[box.id],
            "hosts": [box.host],
            "disks_bytes": [disk_bytes(box, total_bytes)],
            "link_bps": LINK_BPS,
            "origin_asns": [isp.asn for isp in ISPS if isp.site == box.site]
            or [isp.asn for isp in ISPS],
        }
        for box in SERVERS
    ]
    return toml({"scheme": "http", "port": PORT, "site": sites, "appliance": boxes})


def disk_bytes(box: Box, total_bytes: int) -> int:
    """The size of a box's disk."""
    return round(box.disk_share * total_bytes)


def routes_of(box: Box) -> list[dict[str, Any]]:
    """What the routers at its site announce to a box: its own ISP, or both at the exchange."""
    if box.site == "origin":
        return []
    own = [isp for isp in ISPS if isp.site == box.site]
    if own:
        return [{"prefix": isp.prefix, "as_path": [isp.asn]} for isp in own]
    return [{"prefix": isp.prefix, "as_path": [64499, isp.asn]} for isp in ISPS]


def oca_config(box: Box, keys: Keys, total_bytes: int, store: str) -> str:
    """The configuration of one appliance, or of the origin's server."""
    is_origin = box.id == ORIGIN.id
    agent: dict[str, Any] = {
        "site": box.site,
        "fill": f"http://{FILL}",
        "steering": [f"http://{STEERING}"],
        "key_file": f"keys/{box.id}.pem",
        "plan_keys": {"fill": keys.plan},
        "link_bps": LINK_BPS,
        "heartbeat_s": HEARTBEAT_S,
        "report_pause_s": 0.2,
        "plan_poll_s": 1.0,
        "purge_poll_s": 5.0,
        "events_s": 1.0,
        "timeout_s": 5.0,
        "drop_ttl_s": 3.0,
        "drop_idle_s": 3.0,
        "drop_bound_s": 30.0,
    }
    if not is_origin:
        agent["routes_file"] = f"{box.id}-routes.json"
    config: dict[str, Any] = {
        "id": box.id,
        "role": "origin" if is_origin else "appliance",
        "store": store,
        "run": f"{box.id}/run",
        "listen": f"{box.host}:{PORT}",
        "workers": 1,
        "token_keys": {"steering": keys.token},
        "agent": agent,
        "fill": {
            "capacity_bytes": disk_bytes(box, total_bytes),
            "reserve_bytes": 0,
            "assets_parallel": 4,
            "patience_s": 3.0,
        },
    }
    return toml(config)


@dataclass(frozen=True, slots=True)
class Keys:
    """The public halves that others need: of the token's signer, of the plan's, of the boxes."""

    token: str
    plan: str
    boxes: Mapping[str, str]


def fill_config(media: str, steering_key: str, forecast: str, nights: int) -> str:
    """The configuration of `fill` for its first night, or for a later one.

    On the first there is only `forecast`, a day's demand as the ISPs expect it; later the counted
    bytes join it as days of their own, and fill takes the mean.
    """
    return toml(
        {
            "catalogue": f"{media}/catalogue.json",
            "fleet": "fleet.toml",
            "state": "fill",
            "signing_key": "keys/fill.pem",
            "kid": "fill",
            "listen": FILL,
            "admin_listen": FILL_ADMIN,
            "steering_keys": {"steering": steering_key},
            "demand": {
                "use": "files" if nights == 1 else "both",
                "files": [forecast],
                "days": nights,
            },
            "plan": {"reserve_share": RESERVE_SHARE, "out_of_window": True},
        }
    )


def steering_config() -> str:
    """The configuration of the one steering replica; the page's proxy is listed."""
    return toml(
        {
            "fleet": "fleet.toml",
            "state": "steering",
            "listen": STEERING,
            "admin": STEERING_ADMIN,
            "public_url": f"http://{STEERING}",
            "proxies": [f"{PROXY_HOST}/32"],
            "snapshot_s": 1.0,
            "catalogue": {"url": f"http://{FILL}", "poll_s": 1.0},
            "tokens": {"key_file": "keys/steering.pem", "kid": "steering"},
            "policy": {"ttl_s": STEERING_TTL_S},
            "reports": {"heartbeat_s": HEARTBEAT_S},
        }
    )


def toml(tree: Mapping[str, Any]) -> str:
    """Write nested mappings as TOML: plain values first, then tables and arrays of tables."""
    return "\n".join(_toml_lines(tree, "")) + "\n"


def _toml_lines(tree: Mapping[str, Any], path: str) -> list[str]:
    lines, later = [], []
    for key, value in tree.items():
        name = key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)
        full = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            later += ["", f"[{full}]", *_toml_lines(value, full)]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for entry in value:
                later += ["", f"[[{full}]]", *_toml_lines(entry, full)]
        else:
            lines.append(f"{name} = {json.dumps(value)}")
    return lines + later
