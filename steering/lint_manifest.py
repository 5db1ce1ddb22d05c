"""Manifests as players read them: which pathways they list, and what is wrong with that. Pure.

Not the rewriters' parsers: what those get wrong, these find.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterator, Mapping

from steering.asked import Protocols
from steering.lint import Finding, Listing, check_listing

_PAIR = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)')
_GROUPS = ("AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS")
_SKIPPED_BY_SHAKA = {*_GROUPS, "PATHWAY-ID", "GROUP-ID", "URI"}
_SKIPPED_BY_SHAKA -= {"CLOSED-CAPTIONS"}

Tag = Mapping[str, str]


def lint_manifest(text: str) -> tuple[Listing, list[Finding]]:
    """The pathways of a manifest as a player gets it, and what is wrong with it."""
    if text.lstrip("\ufeff \r\n").startswith("#EXTM3U"):
        listing, found = _playlist(text)
    else:
        listing, found = _mpd(text)
    return listing, [*found, *check_listing(listing)]


def _playlist(text: str) -> tuple[Listing, list[Finding]]:
    listing = Listing(Protocols.HLS)
    found: list[Finding] = []
    media: list[tuple[int, Tag]] = []
    variants: list[tuple[int, Tag]] = []
    waiting: tuple[int, Tag] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        name, _, rest = line.partition(":")
        tag = {key: value.strip('"') for key, value in _PAIR.findall(rest)}
        if name == "#EXT-X-CONTENT-STEERING":
            listing.server_uri = tag.get("SERVER-URI", "")
            listing.default = tag.get("PATHWAY-ID", ".")
        elif name == "#EXT-X-MEDIA":
            media.append((number, tag))
        elif name == "#EXT-X-STREAM-INF":
            waiting = (number, tag)
        elif line and not line.startswith("#") and waiting is not None:
            pathway = waiting[1].get("PATHWAY-ID", ".")
            stable = waiting[1].get("STABLE-VARIANT-ID", _same(waiting[1]))
            listing.things[f"variant {stable}"][pathway] = line
            variants.append(waiting)
            waiting = None
    found += _groups(media, variants)
    found += _subtitles(media, len(listing.pathways))
    found += _merged(media)
    found += _ladders(listing)
    return listing, found


def _same(tag: Tag) -> str:
    """What Shaka tells tags apart by: all attributes but groups, pathway and URI."""
    return ",".join(f"{k}={v}" for k, v in sorted(tag.items()) if k not in _SKIPPED_BY_SHAKA)


def _groups(media: list[tuple[int, Tag]], variants: list[tuple[int, Tag]]) -> Iterator[Finding]:
    """Each pathway has rendition groups of its own, the same ones."""
    members: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for _, tag in media:
        key = (tag.get("TYPE", ""), tag.get("GROUP-ID", ""))
        members[key].add((tag.get("NAME", ""), tag.get("LANGUAGE", "")))
    used: dict[tuple[str, str], str] = {}
    for number, tag in variants:
        pathway = tag.get("PATHWAY-ID", ".")
        for kind in _GROUPS:
            group = tag.get(kind, "NONE")
            if group == "NONE":
                continue
            if not members.get((kind, group)):
                yield Finding(f"line {number}", f"there is no {kind} group {group!r}")
            if used.setdefault((kind, group), pathway) != pathway:
                text = (
                    f"pathways {used[kind, group]} and {pathway} share the {kind} group {group!r}"
                )
                yield Finding(f"line {number}", text + ": who leaves one keeps its sound")


def _subtitles(media: list[tuple[int, Tag]], pathways: int) -> Iterator[Finding]:
    for number, tag in media:
        if tag.get("TYPE") == "SUBTITLES" and "PATHWAY-ID" not in tag and pathways > 1:
            text = "subtitles without PATHWAY-ID: Shaka has no URL for them"
            yield Finding(f"line {number}", text, fatal=False)


def _merged(media: list[tuple[int, Tag]]) -> Iterator[Finding]:
    """Shaka makes one of all renditions that differ in group and URI only."""
    seen: dict[tuple[str, str], str] = {}
    for number, tag in media:
        key, uri = (tag.get("PATHWAY-ID", ""), _same(tag)), tag.get("URI", "")
        if tag.get("PATHWAY-ID") and uri and seen.setdefault(key, uri) != uri:
            text = "is like another rendition of its pathway but for group and URI: Shaka merges"
            yield Finding(f"line {number}", text + " them (STABLE-RENDITION-ID helps)", fatal=False)


def _ladders(listing: Listing) -> Iterator[Finding]:
    counts = {
        name: sum(name in urls for urls in listing.things.values()) for name in listing.pathways
    }
    if len(set(counts.values())) > 1:
        text = f"pathways have ladders of different lengths {counts}: hls.js changes by position"
        yield Finding("variants", text, fatal=False)


def _mpd(text: str) -> tuple[Listing, list[Finding]]:
    listing = Listing(Protocols.DASH)
    found: list[Finding] = []
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return listing, [Finding("document", "it declares a document type: not read any further")]
    try:
        root = ET.fromstring(text)
    except ET.ParseError as exc:
        return listing, [Finding(f"line {exc.position[0]}", "this is neither HLS nor XML")]
    steering = _children(root, "ContentSteering")
    if steering:
        listing.server_uri = (steering[0].text or "").strip()
        listing.default = steering[0].get("defaultServiceLocation", "")
    shaka: dict[tuple[str, str], str] = {}
    for period, element in enumerate(_children(root, "Period"), start=1):
        for one in (rep for rep in element.iter() if _name(rep) == "Representation"):
            found += _representation(listing, period, one, shaka)
    return listing, found


def _representation(
    listing: Listing, period: int, element: ET.Element, shaka: dict[tuple[str, str], str]
) -> Iterator[Finding]:
    name = element.get("id", "")
    where = f"Period {period}, Representation {name!r}"
    for base in _children(element, "BaseURL"):
        location, url = base.get("serviceLocation"), (base.text or "").strip()
        if not location:
            yield Finding(where, f"the BaseURL {url[:60]!r} has no serviceLocation")
            continue
        listing.things[where][location] = url
        if shaka.setdefault((name, location), url) != url:
            text = "another Period has the id with another BaseURL: Shaka keeps the last for both"
            yield Finding(where, text)
    if not listing.things.get(where):
        yield Finding(where, "has no BaseURL with a serviceLocation: it cannot be steered")


def _children(element: ET.Element, name: str) -> list[ET.Element]:
    return [child for child in element if _name(child) == name]


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
