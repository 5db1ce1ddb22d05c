"""Read exabgp's JSON lines (version 5, `encoder json`) as events of a BGP session. Pure.

Only what a routing table needs: sessions up and down, what the other side can hold over a restart
(RFC 4724), announcements and withdrawals of unicast prefixes, the ends of tables. All else is None.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from wire.errors import WireError
from wire.reports import AS_PATH_MAX, COMMUNITIES_MAX, OriginCode

FAMILIES = ("ipv4 unicast", "ipv6 unicast")
LINE_BYTES_MAX = 4 * 1024 * 1024  # an extended UPDATE has 64 KiB (RFC 8654): ~13,000 prefixes
ANSWERS = frozenset({b"done", b"error", b"shutdown", b""})
"""What exabgp says to a command of ours, and at its end; no messages."""
HOLD_TIMER_EXPIRED = 4  # the NOTIFICATION of a session that froze; all others are meant (RFC 4486)
_NUMBER_MAX = 2**32 - 1  # MED, local preference and AS numbers have 32 bits (RFC 4271, RFC 6793)
_ORIGINS: Mapping[str, OriginCode] = {"igp": "igp", "egp": "egp", "incomplete": "incomplete"}
WHAT = "exabgp"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What one UPDATE says of all its prefixes."""

    as_path: tuple[int, ...] = ()
    local_pref: int = 100
    med: int = 0
    origin_code: OriginCode = "incomplete"
    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side's OPEN: how long its routes may be held after a loss (s), by family."""

    neighbor: str
    restart_s: float
    families: frozenset[str]


@dataclass(frozen=True, slots=True)
class Up:
    """A session is established."""

    neighbor: str


@dataclass(frozen=True, slots=True)
class Down:
    """A session, or an attempt at one, ended; `ours`: exabgp itself was told to stop it."""

    neighbor: str
    reason: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Farewell:
    """The other side ends the session on purpose (a NOTIFICATION): nothing of it is to be held."""

    neighbor: str
    code: int
    subcode: int


@dataclass(frozen=True, slots=True)
class Update:
    """Prefixes announced with the same attributes, and prefixes withdrawn, as (family, key); a key
    is the prefix, and behind a space the path's id where there is one (RFC 7911)."""

    neighbor: str
    attributes: Attributes
    announced: tuple[tuple[str, str], ...]
    withdrawn: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EndOfRib:
    """All routes of a family were told (RFC 4724 §2)."""

    neighbor: str
    family: str


Event = Opened | Up | Down | Farewell | Update | EndOfRib
Tree = Mapping[str, Any]


def event_of(line: bytes) -> Event | None:
    """What a line says, None when it does not matter here; raises WireError naming the field."""
    if line.strip() in ANSWERS:
        return None
    if len(line) > LINE_BYTES_MAX:
        raise WireError(WHAT, "$", f"a line has at most {LINE_BYTES_MAX} bytes")
    try:
        tree = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise WireError(WHAT, "$", f"this is no line of JSON: {exc}") from exc
    except RecursionError as exc:
        raise WireError(WHAT, "$", "this is nested too deep") from exc
    told = _tree(tree, "$").get("neighbor")
    if told is None:
        return None
    read = _READERS.get(str(tree.get("type")))
    if read is None:
        return None
    about = _tree(told, "$.neighbor")
    peer = _tree(about.get("address"), "$.neighbor.address").get("peer")
    if not isinstance(peer, str) or not 0 < len(peer) <= 64:
        raise WireError(WHAT, "$.neighbor.address.peer", "this is no address")
    return read(peer, about)


def _state(peer: str, about: Tree) -> Event | None:
    state = about.get("state")
    if state == "up":
        return Up(peer)
    if state != "down":
        return None
    reason = str(about.get("reason", ""))[:200]
    return Down(peer, reason, reason.startswith("stop,"))


def _open(peer: str, about: Tree) -> Event | None:
    if about.get("direction") == "send":
        return None
    capabilities = _tree(_tree(about.get("open"), "$.neighbor.open").get("capabilities", {}), "$")
    for capability in capabilities.values():
        if isinstance(capability, dict) and capability.get("name") == "graceful restart":
            flags = _tree(capability.get("address-family-flags", {}), "$.neighbor.open")
            families = frozenset(name.replace("/", " ") for name in flags)
            return Opened(peer, float(_number(capability, "time", 0)), families)
    return Opened(peer, 0.0, frozenset())


def _notification(peer: str, about: Tree) -> Event | None:
    if about.get("direction") == "send":
        return None
    said = _tree(about.get("notification"), "$.neighbor.notification")
    code = _number(said, "code", 0)
    return None if code == HOLD_TIMER_EXPIRED else Farewell(peer, code, _number(said, "subcode", 0))


def _update(peer: str, about: Tree) -> Event | None:
    if about.get("direction") == "send":
        return None
    message = _tree(about.get("message"), "$.neighbor.message")
    if "eor" in message:
        end = _tree(message["eor"], "$.neighbor.message.eor")
        return EndOfRib(peer, f"{end.get('afi')} {end.get('safi')}")
    update = _tree(message.get("update"), "$.neighbor.message.update")
    announced = _tree(update.get("announce", {}), "$.neighbor.message.update.announce")
    withdrawn = _tree(update.get("withdraw", {}), "$.neighbor.message.update.withdraw")
    keys: list[tuple[str, str]] = []
    for family, hops in announced.items():
        if family in FAMILIES:
            for entries in _tree(hops, f"announce.{family}").values():
                keys += ((family, key) for key in _keys(entries, family))
    gone = [
        (family, key)
        for family, entries in withdrawn.items()
        if family in FAMILIES
        for key in _keys(entries, family)
    ]
    said = _tree(update.get("attribute", {}), "attribute")
    path, has_set = _as_path(said.get("as-path", {}))
    if has_set:  # whose origin it is nobody can tell: treated as withdrawn (RFC 9774)
        return Update(peer, Attributes(), (), (*gone, *keys))
    return Update(peer, _attributes(said, path or _own(about)), tuple(keys), tuple(gone))


_READERS = {"state": _state, "open": _open, "notification": _notification, "update": _update}


def _keys(entries: object, family: str) -> Iterator[str]:
    """The prefixes in a list of NLRI, written short or long, in their canonical form."""
    if not isinstance(entries, list):
        raise WireError(WHAT, family, "a list of prefixes is expected")
    for entry in entries:
        text, path = (entry, "") if isinstance(entry, str) else _long(entry, family)
        try:
            prefix = str(ipaddress.ip_network(text))
        except ValueError as exc:
            raise WireError(WHAT, family, f"{str(text)[:64]!r} is no prefix") from exc
        if (":" in prefix) != (family == "ipv6 unicast"):
            raise WireError(WHAT, family, f"{prefix} is of the other family")
        yield f"{prefix} {path}" if path else prefix


def _long(entry: object, family: str) -> tuple[str, str]:
    tree = _tree(entry, family)
    path = str(tree.get("path-information", ""))
    return str(tree.get("nlri")), path[:64].replace(" ", "")


def _own(about: Tree) -> tuple[int, ...]:
    """Of a route without a path the neighbour's own AS is the origin (RFC 6811 §2)."""
    return (_number(_tree(about.get("asn"), "$.neighbor.asn"), "peer", 0),)


def _attributes(said: Tree, path: tuple[int, ...]) -> Attributes:
    return Attributes(
        as_path=path,
        local_pref=_number(said, "local-preference", 100),
        med=_number(said, "med", 0),
        origin_code=_ORIGINS.get(str(said.get("origin")), "incomplete"),
        communities=tuple(islice(_communities(said), COMMUNITIES_MAX)),
    )


def _as_path(said: object) -> tuple[tuple[int, ...], bool]:
    """The sequence of ASNs without confederations' (RFC 5065), and whether there is an AS_SET."""
    path: list[int] = []
    has_set = False
    for segment in _tree(said, "as-path").values():
        tree = _tree(segment, "as-path")
        kind, numbers = tree.get("element"), tree.get("value")
        if not isinstance(numbers, list):
            raise WireError(WHAT, "as-path", "a list of AS numbers is expected")
        if kind == "as-sequence":
            path += (_check(number, "as-path") for number in numbers)
        has_set = has_set or kind in ("as-set", "as-confed-set")
    if len(path) > AS_PATH_MAX:
        raise WireError(WHAT, "as-path", f"longer than {AS_PATH_MAX}")
    return tuple(path), has_set


def _communities(tree: Tree) -> Iterator[str]:
    """Standard and large communities as text, such as 64500:7 and 64500:1:2 (RFC 1997, 8092)."""
    for name in ("community", "large-community"):
        entries = tree.get(name, [])
        if not isinstance(entries, list):
            raise WireError(WHAT, name, "a list is expected")
        for entry in entries:
            numbers = entry if isinstance(entry, list) else [entry]
            yield ":".join(str(number)[:32] for number in numbers[:3])


def _number(tree: Tree, name: str, default: int) -> int:
    return _check(tree.get(name, default), name)


def _check(number: object, name: str) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _NUMBER_MAX:
        raise WireError(WHAT, name, f"{str(number)[:32]!r} is not 0 … {_NUMBER_MAX}")
    return number


def _tree(value: object, where: str) -> Tree:
    if not isinstance(value, dict):
        raise WireError(WHAT, where, "an object is expected")
    return value
