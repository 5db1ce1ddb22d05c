"""Add service locations and Content Steering to an MPD (ETSI TS 103 998, ISO/IEC 23009-1).

Pure: text in, text out. The manifest is read once into a template of text and slots, so that
everything else in it stays byte for byte, and writing it for a player is a join. Document types
and entities are refused: a manifest needs none.

A Representation's folder is its BaseURL, or what its SegmentTemplate begins with
(`$RepresentationID$/seg-$Number$.m4s`); either becomes one BaseURL for each pathway. An id that a
later Period uses for another folder gets a number: Shaka keeps URLs by id, whatever the Period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from steering.pathways import ManifestError, Pathway, split_uri

MEDIA_TYPE = "application/dash+xml"
# Where a Representation's BaseURL goes: before the first of these (order of the schema).
_AFTER_BASE = ("BaseURL", "SubRepresentation", "SegmentBase", "SegmentList", "SegmentTemplate")
_LEVELS = ("MPD", "Period", "AdaptationSet", "Representation")
_ID_IS_USED = ("$RepresentationID$", "dependencyId=", "associationId=")
_ID_WRITTEN = re.compile(r"""(\sid\s*=\s*)("[^"]*"|'[^']*')""")
_NO_BASE = (None, "", "./")
# Where segments' URLs stand (ISO/IEC 23009-1 §5.3.9), by element: the attributes that are URLs.
_URLS = {
    "SegmentTemplate": ("media", "initialization", "index", "bitstreamSwitching"),
    "SegmentURL": ("media", "index"),
    "Initialization": ("sourceURL",),
    "RepresentationIndex": ("sourceURL",),
    "BitstreamSwitching": ("sourceURL",),
}
DEPTH_MAX = 32  # an MPD's own elements are ten deep
# Each is written with a BaseURL of ~700 bytes for each pathway: 1,000 make 3 MB for four.
RENDITIONS_MAX = 1_000
# What would send a player past us: the origin's own steering and its own address.
_DROPPED = ("ContentSteering", "Location", "PatchLocation")


@dataclass(frozen=True, slots=True)
class Rendition:
    """One Representation: text before and after its BaseURLs, the rendition it needs, `rest` of
    the path below the rendition's folder, and which AdaptationSet (by number) it is in."""

    id: str
    name: str
    rest: str
    before: str
    after: str
    tag: str
    attributes: Mapping[str, str]
    in_set: int


@dataclass(frozen=True, slots=True)
class Steering:
    """The place for the ContentSteering element; `tag` is its name with the document's prefix."""

    tag: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """An MPD as text and slots."""

    parts: tuple[str | Rendition | Steering, ...]

    def usable(self, pathways: Sequence[Pathway]) -> list[Pathway]:
        """The pathways that hold a Representation; none when some AdaptationSet is held nowhere."""
        renditions = [part for part in self.parts if isinstance(part, Rendition)]
        held = {part.in_set for part in renditions for way in pathways if part.name in way.folders}
        if held != {part.in_set for part in renditions}:
            return []
        return [way for way in pathways if any(part.name in way.folders for part in renditions)]

    def render(self, pathways: Sequence[Pathway], server_uri: str) -> str:
        """The MPD for one player: `pathways` best first, absolute URLs. A Representation that
        nobody holds is left out."""
        return "".join(_render(part, pathways, server_uri) for part in self.parts)


def _render(part: str | Rendition | Steering, pathways: Sequence[Pathway], server_uri: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Steering):
        # The manifest is ranked this very moment, so there is nothing to ask before the start.
        return (
            f"<{part.tag} defaultServiceLocation={quoteattr(pathways[0].id)} "
            f'queryBeforeStart="false">{escape(server_uri)}</{part.tag}>\n  '
        )
    urls = [
        f"<{part.tag}{_attributes(part)} serviceLocation={quoteattr(way.id)}>"
        f"{escape(way.folders[part.name] + part.rest)}</{part.tag}>"
        for way in pathways
        if part.name in way.folders
    ]
    return part.before + "".join(urls) + part.after if urls else ""


def _attributes(part: Rendition) -> str:
    return "".join(
        f" {name}={quoteattr(value)}"
        for name, value in part.attributes.items()
        if name != "serviceLocation"
    )


@dataclass(slots=True)
class _Open:
    """An element being read: where it began, its first BaseURL, and where one would be put."""

    name: str
    begin: int
    attributes: Mapping[str, str]
    base: str | None = None
    base_attributes: Mapping[str, str] = field(default_factory=dict)
    put_at: int | None = None
    text: list[str] = field(default_factory=list)
    empty: bool = True
    folder: str = ""
    """What segments' URLs at this level begin with, where it is not in a BaseURL."""


class _Reader:
    """Collects, while expat reads, which spans of the document become slots or go away."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.open: list[_Open] = []
        self.slots: list[tuple[int, int, Rendition | Steering | None]] = []
        self.gone: list[tuple[int, int]] = []
        self.prefix = ""
        self.sets = 0
        self.steered = False
        self.parser = expat.ParserCreate("utf-8")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.buffer_text = True
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype

    def read(self) -> None:
        try:
            self.parser.Parse(self.raw, True)
        except expat.ExpatError as exc:
            raise ManifestError(f"line {exc.lineno}: this is not well-formed XML") from exc

    def _doctype(self, *_: object) -> None:
        raise ManifestError("the manifest declares a document type, which is refused")

    def _characters(self, text: str) -> None:
        self.open[-1].empty = False
        if self.open[-1].name == "BaseURL":
            self.open[-1].text.append(text)

    def _start(self, qname: str, attributes: dict[str, str]) -> None:
        prefix, _, name = qname.rpartition(":")
        begin = self.parser.CurrentByteIndex
        if not self.open:
            if name != "MPD":
                raise ManifestError(f"the document is a {name[:40]}, not an MPD")
            self.prefix = prefix + ":" if prefix else ""
        elif name == "AdaptationSet":
            self.sets += 1
        elif name == "Period" and not self.steered:
            self.steered = True
            self.slots.append((begin, begin, Steering(self.prefix + "ContentSteering")))
        if self.open:
            self.open[-1].empty = False
            if self.open[-1].put_at is None and name in _AFTER_BASE:
                self.open[-1].put_at = begin
        if len(self.open) >= DEPTH_MAX:
            raise ManifestError(f"line {self._line}: more than {DEPTH_MAX} elements deep")
        if name in _URLS and all(level.base in _NO_BASE for level in self.open):
            self._take_folder(name, begin, attributes)
        self.open.append(_Open(name, begin, attributes))

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber

    def _take_folder(self, name: str, begin: int, attributes: Mapping[str, str]) -> None:
        """Cut the folder off a segment's URLs, to be put into BaseURLs: all of a level share it."""
        tag = self.raw[begin : self.raw.index(b">", begin)]
        level = next(one for one in reversed(self.open) if one.name in _LEVELS)
        for attribute in _URLS[name]:
            folder, slash, _ = attributes.get(attribute, "").removeprefix("./").partition("/")
            if not slash or ":" in folder:
                continue
            if level.folder and level.folder != folder:
                raise ManifestError(
                    f"line {self._line}: {attribute} begins with {folder[:40]!r}, and another "
                    f"URL of this {level.name} with {level.folder[:40]!r}: one folder each is known"
                )
            level.folder = folder
            found = re.search(
                rb"\s%b\s*=\s*[\"'](\.?/?%b/)" % (attribute.encode(), re.escape(folder.encode())),
                tag,
            )
            if found is None:
                raise ManifestError(
                    f"line {self._line}: {attribute} is written too oddly to change"
                )
            self.gone.append((begin + found.start(1), begin + found.end(1)))

    def _end(self, qname: str) -> None:
        element = self.open.pop()
        # expat is before `</X>`, but already past the end of `<X/>`.
        close = self.parser.CurrentByteIndex
        end = close if self._is_empty(element, close) else self.raw.index(b">", close) + 1
        if element.name in _DROPPED:
            self.gone.append((element.begin, end))
        elif element.name == "BaseURL":
            self._base_url(element, end)
        elif element.name == "Representation":
            self._representation(element, close, end)

    def _is_empty(self, element: _Open, close: int) -> bool:
        """Whether an element that has just ended was written `<X/>`."""
        return element.empty and self.raw[close - 2 : close] == b"/>"

    def _base_url(self, element: _Open, end: int) -> None:
        parent = self.open[-1]
        if parent.name not in _LEVELS:
            raise ManifestError(f"BaseURL in {parent.name} is not known here")
        self.gone.append((element.begin, end))
        if parent.base is None:
            parent.base = "".join(element.text).strip()
            parent.base_attributes = element.attributes

    def _representation(self, element: _Open, close: int, end: int) -> None:
        parts = self._folder_of(element)
        empty = self._is_empty(element, close)
        put_at = end - 2 if empty else (element.put_at or close)
        closing = f"</{self.prefix}Representation>"
        rendition = Rendition(
            id=element.attributes.get("id", ""),
            name=parts[0],
            rest=parts[1],
            before=self._kept(element.begin, put_at) + (">" if empty else ""),
            after=closing if empty else self._kept(put_at, end),
            tag=self.prefix + "BaseURL",
            attributes=element.base_attributes,
            in_set=self.sets,
        )
        self.gone = [span for span in self.gone if span[0] < element.begin]
        self.slots.append((element.begin, end, rendition))

    def _folder_of(self, element: _Open) -> tuple[str, str]:
        """The rendition's folder and what comes below it; raises ManifestError."""
        chain = [*self.open, element]
        base = "".join(level.base or "" for level in chain)
        folder = next((level.folder for level in reversed(chain) if level.folder), "")
        name = element.attributes.get("id", "?")
        where = f"line {self._line}: Representation id={name[:40]!r}"
        if folder and base.replace("./", "") == "":
            base = folder.replace("$RepresentationID$", name) + "/"
        elif folder:
            raise ManifestError(f"{where}: a BaseURL and a folder in its segments' URLs as well")
        parts = split_uri(base)
        if parts is None:
            detail = f"its BaseURL {base[:80]!r} does not begin with the folder of a rendition"
            raise ManifestError(f"{where}: {detail}")
        return parts

    def _kept(self, begin: int, end: int) -> str:
        """The text between two places, without what is dropped."""
        pieces, position = [], begin
        for gone_begin, gone_end in sorted(self.gone):
            if begin <= gone_begin < end:
                pieces.append(self.raw[position:gone_begin])
                position = gone_end
        pieces.append(self.raw[position:end])
        return b"".join(pieces).decode()


def read_mpd(text: str) -> Manifest:
    """Read the origin's MPD; raises ManifestError naming the line or element at fault."""
    reader = _Reader(text.removeprefix("\ufeff").encode())
    reader.read()
    count = sum(isinstance(slot, Rendition) for *_, slot in reader.slots)
    if not 1 <= count <= RENDITIONS_MAX:
        raise ManifestError(
            f"there are {count} Representations in it; 1 to {RENDITIONS_MAX} are rewritten"
            if count
            else "there is no Representation in it"
        )
    cuts = [*reader.slots, *((begin, end, None) for begin, end in reader.gone)]
    cuts.sort(key=lambda cut: (cut[0], cut[1]))
    parts: list[str | Rendition | Steering] = []
    position = 0
    for begin, end, slot in cuts:
        parts.append(reader.raw[position:begin].decode())
        if slot is not None:
            parts.append(slot)
        position = end
    parts.append(reader.raw[position:].decode())
    return Manifest(tuple(_ids_apart(parts)))


def _ids_apart(parts: Sequence[str | Rendition | Steering]) -> Iterator[str | Rendition | Steering]:
    """The parts, with an id of its own for each folder, unless ids are in URLs or referred to."""
    texts = [
        part if isinstance(part, str) else part.before + part.after
        for part in parts
        if not isinstance(part, Steering)
    ]
    bound = any(word in text for text in texts for word in _ID_IS_USED)
    seen: dict[str, list[tuple[str, str]]] = {}
    for part in parts:
        if not isinstance(part, Rendition) or bound:
            yield part
            continue
        folders = seen.setdefault(part.id, [])
        if (part.name, part.rest) not in folders:
            folders.append((part.name, part.rest))
        number = folders.index((part.name, part.rest))
        yield part if number == 0 else _renamed(part, f"{part.id}.{number + 1}")


def _renamed(part: Rendition, name: str) -> Rendition:
    written = _ID_WRITTEN.sub(lambda found: found[1] + quoteattr(name), part.before, count=1)
    return replace(part, id=name, before=written)
