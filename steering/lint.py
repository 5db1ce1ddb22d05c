"""Does a manifest hold together with what steering answers, for all three players? Pure.

Reads manifests and answers on their own terms, not with the code that writes them: each rule is a
trap that was read in a player's code (docs/PLAYERS.md). An error stops a player or a failover.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from steering.asked import Protocols, is_pathway
from wire.ids import ORIGIN_ID

TTL_LONGEST_S = 86_400


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where, and for whom. `fatal`: a player stops, or does not fail over."""

    where: str
    text: str
    fatal: bool = True


@dataclass(slots=True)
class Listing:
    """What a manifest offers: its pathways in order, each with the URLs it has, and which URLs
    stand for the same thing (`things`: name → pathway → URL)."""

    protocol: Protocols
    server_uri: str = ""
    default: str = ""
    things: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def pathways(self) -> list[str]:
        """Every pathway, in the order of its first URL."""
        return list(dict.fromkeys(name for urls in self.things.values() for name in urls))

    def hosts(self) -> dict[str, set[tuple[str, int | None]]]:
        """Pathway → the (host, port) pairs it is served from."""
        found: dict[str, set[tuple[str, int | None]]] = defaultdict(set)
        for urls in self.things.values():
            for name, url in urls.items():
                parts = urlsplit(url)
                found[name].add((parts.hostname or "", parts.port))
        return found


def check_listing(listing: Listing) -> Iterator[Finding]:
    """What both protocols ask of a manifest with pathways."""
    names = listing.pathways
    if not listing.server_uri:
        yield Finding("steering", "there is no Content Steering in it")
    elif urlsplit(listing.server_uri).scheme not in ("http", "https"):
        yield Finding("steering", f"the server's URI {listing.server_uri!r} is not absolute")
    if listing.server_uri and listing.default not in names:
        yield Finding("steering", f"starts on pathway {listing.default!r}, which it does not list")
    for name in names:
        if not is_pathway(name):
            yield Finding(name, "a pathway's id has letters, digits and .-_ only")
    if len(names) == 1:
        text = "one pathway only: no player can fail over, and Shaka cannot be steered"
        yield Finding(names[0], text, fatal=False)
    yield from _hosts(listing)


def _hosts(listing: Listing) -> Iterator[Finding]:
    by_pathway = listing.hosts()
    ports = {port for pairs in by_pathway.values() for _, port in pairs}
    if len(ports) > 1:
        yield Finding("hosts", f"several ports ({_list(ports)}): clones keep that of their base")
    hosts = sorted({host for pairs in by_pathway.values() for host, _ in pairs if host})
    for host in hosts:
        for other in hosts:
            if host != other and host in other:
                text = f"is a part of {other}: Shaka bans both when the latter fails"
                yield Finding(host, text, fatal=False)


def check_answer(text: str, listing: Listing, *, wants_port: bool = False) -> list[Finding]:
    """What players ask of a steering manifest for a session with this listing. `wants_port`: it
    was asked as dash.js asks, which takes HOST for host and port together."""
    try:
        body = json.loads(text)
    except ValueError as exc:
        return [Finding("answer", f"this is not JSON: {exc}")]
    if not isinstance(body, dict):
        return [Finding("answer", "this is not an object")]
    found = list(_head(body))
    priority, clones = body.get("PATHWAY-PRIORITY"), body.get("PATHWAY-CLONES", [])
    if not isinstance(priority, list) or not _strings(priority):
        return [*found, Finding("PATHWAY-PRIORITY", "this is not a list of pathway ids")]
    if not isinstance(clones, list) or not all(isinstance(one, dict) for one in clones):
        return [*found, Finding("PATHWAY-CLONES", "this is not a list of clones")]
    for clone in clones:
        found += _clone(clone, listing, wants_port=wants_port)
    return found + list(_priority(priority, {str(one.get("ID")) for one in clones}, listing))


def _head(body: Mapping[str, Any]) -> Iterator[Finding]:
    if body.get("VERSION") != 1:
        yield Finding("VERSION", f"{body.get('VERSION')!r} is not 1: players ignore the answer")
    ttl_s = body.get("TTL")
    if not isinstance(ttl_s, int) or isinstance(ttl_s, bool) or not 1 <= ttl_s <= TTL_LONGEST_S:
        yield Finding("TTL", f"{ttl_s!r} is not a number of seconds: hls.js asks in a loop")
    reload_uri = body.get("RELOAD-URI", "")
    if not isinstance(reload_uri, str):
        yield Finding("RELOAD-URI", "this is not a text")
    elif reload_uri and urlsplit(reload_uri).scheme not in ("http", "https"):
        text = "is relative: Shaka resolves it against the manifest, others against steering"
        yield Finding("RELOAD-URI", text)


def _priority(priority: Sequence[str], clones: set[str], listing: Listing) -> Iterator[Finding]:
    known, where = {*listing.pathways, *clones}, "PATHWAY-PRIORITY"
    if not known & set(priority):
        yield Finding(where, f"{_list(priority)} meets none of {_list(listing.pathways)}")
    for name in priority:
        if name not in known:
            yield Finding(where, f"{name!r} is neither listed nor a clone", fatal=False)
    if len(set(priority)) != len(priority):
        yield Finding(where, "names a pathway twice")
    if len(priority) < min(2, len(listing.pathways)):
        yield Finding(where, "names one only: hls.js fails over between two or more")
    if ORIGIN_ID in priority and priority[-1] != ORIGIN_ID and not clones:
        yield Finding(where, "has something after the origin", fatal=False)
    if listing.protocol is Protocols.DASH:
        for thing, urls in listing.things.items():
            if not set(urls) & set(priority):
                yield Finding(where, f"serves no {thing}: dash.js stops there")


def _clone(clone: Mapping[str, Any], listing: Listing, *, wants_port: bool) -> Iterator[Finding]:
    name, base = str(clone.get("ID", "")), str(clone.get("BASE-ID", ""))
    where = f"clone {name}"
    if not is_pathway(name) or name in listing.pathways:
        yield Finding(where, "its ID is none, or that of a listed pathway")
    if base not in listing.pathways:
        yield Finding(where, f"its BASE-ID {base!r} is not listed")
    replacement = clone.get("URI-REPLACEMENT")
    host = replacement.get("HOST") if isinstance(replacement, dict) else None
    if not isinstance(host, str) or not host:
        yield Finding(where, "has no HOST: Shaka and dash.js know nothing else")
        return
    ports = {port for _, port in listing.hosts().get(base, set())} - {None}
    has_port = urlsplit(f"//{host}").port is not None
    if has_port and not wants_port:
        yield Finding(where, f"HOST {host} has a port: hls.js and Shaka then go to the base")
    if ports and wants_port and not has_port:
        yield Finding(where, f"HOST {host} has no port: dash.js drops that of the base")


def _strings(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(one, str) for one in value)


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
