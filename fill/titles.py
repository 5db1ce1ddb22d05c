"""A title's folder as scanned: check what its manifests say, and describe its assets. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from fill.catalogue import MANIFEST_NAME, Found
from fill.media import guess_kind, media_type, suffix_of
from fill.refs import Ref, dash_refs, hls_duration_s, hls_refs
from wire.catalogue import AssetKind, File
from wire.errors import WireError

MANIFEST_SUFFIXES = (".m3u8", ".mpd")


@dataclass(frozen=True, slots=True)
class Hashed:
    """One file's content: size in bytes, SHA-256 (hex) and xxh3-128 (hex) per CHUNK_BYTES."""

    size_bytes: int
    modified_s: int
    sha256: str
    chunks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TitleFolder:
    """One title as it lies on the disk: sizes in bytes by file name; texts of its manifests.

    `texts` maps a path inside the title (`master.m3u8`, `video-1/media.m3u8`) to its bytes.
    """

    title: str
    manifests: Mapping[str, int]
    renditions: Mapping[str, Mapping[str, int]]
    texts: Mapping[str, bytes]


@dataclass(slots=True)
class Facts:
    """What the manifests tell about one rendition."""

    kind: AssetKind | None = None
    bitrate_bps: int = 0


@dataclass(slots=True)
class Checked:
    """A title whose manifests hold: facts by rendition, and the faults found on the way."""

    facts: dict[str, Facts] = field(default_factory=dict)
    faults: list[WireError] = field(default_factory=list)


def check_title(folder: TitleFolder) -> Checked:
    """Read all manifests of a title; every URI that leads nowhere is a fault with file and line."""
    checked = Checked(facts={name: Facts() for name in folder.renditions})
    for name in sorted(folder.manifests, key=lambda name: (suffix_of(name) != ".mpd", name)):
        for ref in _read_refs(folder, name, checked):
            _follow(folder, name, ref, checked)
    for rendition, sizes in folder.renditions.items():
        for name in sizes:
            if suffix_of(name) == ".m3u8":
                _check_playlist(folder, rendition, name, checked)
        if not any(sizes.values()):
            fault = WireError(f"{folder.title}/{rendition}", "", "all its files are empty")
            checked.faults.append(fault)
        facts = checked.facts[rendition]
        if facts.kind is None:
            facts.kind = guess_kind(rendition, sizes)
    return checked


def describe(
    folder: TitleFolder, checked: Checked, hashed: Mapping[tuple[str, str], Hashed]
) -> Iterator[Found]:
    """The assets of a checked title; `hashed` is keyed (rendition or "", file)."""
    if folder.manifests:
        yield _found(folder, "", MANIFEST_NAME, Facts(AssetKind.MANIFEST), hashed)
    for rendition in folder.renditions:
        yield _found(folder, rendition, rendition, checked.facts[rendition], hashed)


def _found(
    folder: TitleFolder,
    rendition: str,
    name: str,
    facts: Facts,
    hashed: Mapping[tuple[str, str], Hashed],
) -> Found:
    kind = facts.kind or AssetKind.DATA
    names = sorted(folder.renditions[rendition] if rendition else folder.manifests)
    files = tuple(
        File(
            name=file,
            bytes=hashed[rendition, file].size_bytes,
            sha256=hashed[rendition, file].sha256,
            chunks=hashed[rendition, file].chunks,
            media_type=media_type(file, kind),
        )
        for file in names
    )
    modified_s = max(hashed[rendition, file].modified_s for file in names)
    return Found(folder.title, name, kind, modified_s, files, facts.bitrate_bps)


def _read_refs(folder: TitleFolder, name: str, checked: Checked) -> list[Ref]:
    what = f"{folder.title}/{name}"
    raw = folder.texts[name]
    try:
        if suffix_of(name) == ".mpd":
            return dash_refs(raw, what)
        return list(hls_refs(_hls_text(raw, what)))
    except WireError as exc:
        checked.faults.append(exc)
        return []


def _hls_text(raw: bytes, what: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise WireError(what, f"byte {exc.start}", "this is not UTF-8") from exc
    if not text.startswith("#EXTM3U"):
        detail = "this is not a playlist: it does not begin with #EXTM3U (RFC 8216 §4.3.1.1)"
        raise WireError(what, "line 1", detail)
    return text


def _follow(folder: TitleFolder, name: str, ref: Ref, checked: Checked) -> None:
    """Check one URI of a top-level manifest, and note what it says about its rendition."""
    path = unquote(urlsplit(ref.uri).path)
    rendition, slash, file = path.partition("/")
    if urlsplit(ref.uri).scheme or urlsplit(ref.uri).netloc or not slash or "/" in file:
        fault = "a title's manifest refers to its renditions as <rendition>/<file>"
    elif rendition not in folder.renditions:
        fault = f"there is no rendition {rendition!r}"
    elif ref.pattern:
        matches = re.compile(ref.pattern).fullmatch
        known = (f"{rendition}/{each}" for each in folder.renditions[rendition])
        fault = "" if any(map(matches, known)) else "no file fits this template"
    else:
        there = file in folder.renditions[rendition]
        fault = "" if there else f"there is no file {file!r} in rendition {rendition!r}"
    if fault:
        what = f"{folder.title}/{name}"
        checked.faults.append(WireError(what, f"line {ref.line}", f"URI {ref.uri!r}: {fault}"))
        return
    facts = checked.facts[rendition]
    facts.kind = facts.kind or ref.kind
    facts.bitrate_bps = facts.bitrate_bps or ref.bitrate_bps


def _check_playlist(folder: TitleFolder, rendition: str, name: str, checked: Checked) -> None:
    """Check a media playlist inside a rendition: it may refer only to files beside it."""
    what = f"{folder.title}/{rendition}/{name}"
    sizes = folder.renditions[rendition]
    try:
        text = _hls_text(folder.texts[f"{rendition}/{name}"], what)
    except WireError as exc:
        checked.faults.append(exc)
        return
    for ref in hls_refs(text):
        if unquote(ref.uri) not in sizes:
            detail = f"URI {ref.uri!r}: there is no such file beside the playlist"
            checked.faults.append(WireError(what, f"line {ref.line}", detail))
    duration_s = hls_duration_s(text)
    facts = checked.facts[rendition]
    if duration_s and not facts.bitrate_bps:
        media = sum(size for file, size in sizes.items() if suffix_of(file) != ".m3u8")
        facts.bitrate_bps = round(media * 8 / duration_s)
