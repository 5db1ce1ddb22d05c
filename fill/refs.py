"""What manifests refer to: every URI with its line, and what it tells about a rendition. Pure.

HLS: RFC 8216. DASH: ISO/IEC 23009-1 §5.3 (BaseURL, SegmentTemplate, SegmentTimeline, SegmentList).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin
from xml.parsers import expat

from wire.catalogue import AssetKind
from wire.errors import WireError

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
_AUDIO_CODECS = ("mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "alac")
_HLS_KINDS: Mapping[str, AssetKind] = {
    "AUDIO": AssetKind.AUDIO,
    "VIDEO": AssetKind.VIDEO,
    "SUBTITLES": AssetKind.TEXT,
}
# Keys may live with a licence server, session data anywhere: they are not files of the title.
_FOREIGN_TAGS = ("#EXT-X-KEY", "#EXT-X-SESSION-KEY", "#EXT-X-SESSION-DATA")
_DURATION = re.compile(r"#EXTINF:\s*([0-9]+(?:\.[0-9]+)?)")
_VARIABLE = re.compile(r"\$(RepresentationID|Number|Time|Bandwidth)?(?:%0(\d+)d)?\$")
TIMELINE_MAX = 100_000  # segments of one representation: five days of 4 s ones


@dataclass(frozen=True, slots=True)
class Ref:
    """One URI of a manifest. `pattern` (a regex) stands for it where a template gives no count."""

    line: int
    uri: str
    kind: AssetKind | None = None
    bitrate_bps: int = 0
    pattern: str = ""


def hls_refs(text: str) -> Iterator[Ref]:
    """The files that an HLS playlist, multivariant or media, refers to."""
    variant: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("#EXT"):
            attributes = _attributes(line)
            if line.startswith("#EXT-X-STREAM-INF"):
                variant = attributes
            elif "URI" in attributes and not line.startswith(_FOREIGN_TAGS):
                yield Ref(number, attributes["URI"], _HLS_KINDS.get(attributes.get("TYPE", "")))
        elif line and not line.startswith("#"):
            yield _variant(number, line, variant) if variant is not None else Ref(number, line)
            variant = None


def hls_duration_s(text: str) -> float:
    """Seconds of media in a media playlist (0 for a multivariant one)."""
    return sum(float(match[1]) for match in _DURATION.finditer(text))


def dash_refs(raw: bytes, what: str) -> list[Ref]:
    """The files that a DASH manifest refers to; raises WireError when it is not XML."""
    reader = _DashReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda tag, attributes: reader.start(
        tag.rpartition(" ")[2], attributes, parser.CurrentLineNumber
    )
    parser.EndElementHandler = lambda tag: reader.end(tag.rpartition(" ")[2])
    parser.CharacterDataHandler = reader.text
    parser.EntityDeclHandler = _refuse_entities
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as exc:
        reason = expat.ErrorString(exc.code)
        raise WireError(what, f"line {exc.lineno}", f"this is not XML: {reason}") from exc
    except _DashError as exc:
        raise WireError(what, f"line {parser.CurrentLineNumber}", str(exc)) from exc
    return reader.refs


class _DashError(Exception):
    """A manifest that we do not read, with the reason."""


def _refuse_entities(*_: object) -> None:
    raise _DashError("a manifest declares no entities")


def _attributes(line: str) -> dict[str, str]:
    _, _, rest = line.partition(":")
    return {match[1]: match[2].strip('"') for match in _ATTRIBUTE.finditer(rest)}


def _variant(number: int, uri: str, attributes: Mapping[str, str]) -> Ref:
    codecs = [codec.strip().lower() for codec in attributes.get("CODECS", "").split(",") if codec]
    sound = bool(codecs) and all(codec.startswith(_AUDIO_CODECS) for codec in codecs)
    bandwidth = attributes.get("BANDWIDTH", "")
    return Ref(
        number,
        uri,
        AssetKind.AUDIO if sound else AssetKind.VIDEO,
        int(bandwidth) if bandwidth.isdigit() else 0,
    )


@dataclass(slots=True)
class _Frame:
    """What one element passes down to its children."""

    tag: str
    line: int
    base: str
    attributes: dict[str, str]
    template: dict[str, str]
    template_line: int
    timeline: list[tuple[int | None, int, int]]
    listed: list[tuple[int, str]] = field(default_factory=list)


class _DashReader:
    """Follows an MPD element by element; `refs` grows with each Representation."""

    LEVELS = ("MPD", "Period", "AdaptationSet", "Representation")

    def __init__(self) -> None:
        self.refs: list[Ref] = []
        self._frames: list[_Frame] = []
        self._base_text: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str], line: int) -> None:
        """An element begins."""
        if tag in self.LEVELS:
            self._push(tag, attributes, line)
        elif not self._frames:
            return
        elif tag == "BaseURL":
            self._base_text = []
        else:
            self._detail(self._frames[-1], tag, attributes, line)

    def end(self, tag: str) -> None:
        """An element ends."""
        if tag == "BaseURL" and self._base_text is not None and self._frames:
            frame = self._frames[-1]
            frame.base = urljoin(frame.base, "".join(self._base_text).strip())
            self._base_text = None
        elif tag in self.LEVELS and self._frames:
            frame = self._frames.pop()
            if tag == "Representation":
                self.refs.extend(_representation(frame))

    def text(self, data: str) -> None:
        """Characters inside an element."""
        if self._base_text is not None:
            self._base_text.append(data)

    def _push(self, tag: str, attributes: dict[str, str], line: int) -> None:
        above = self._frames[-1] if self._frames else None
        self._frames.append(
            _Frame(
                tag,
                line,
                above.base if above else "",
                {**(above.attributes if above else {}), **attributes},
                dict(above.template) if above else {},
                above.template_line if above else line,
                list(above.timeline) if above else [],
            )
        )

    def _detail(self, frame: _Frame, tag: str, attributes: dict[str, str], line: int) -> None:
        if tag == "SegmentTemplate":
            frame.template.update(attributes)
            frame.template_line, frame.timeline = line, []
        elif tag == "S":
            start = _whole(attributes["t"]) if "t" in attributes else None
            repeat = _whole(attributes.get("r", "0"))
            frame.timeline.append((start, _whole(attributes.get("d", "0")), repeat))
        elif tag == "SegmentURL" and "media" in attributes:
            frame.listed.append((line, attributes["media"]))
        elif tag == "Initialization" and "sourceURL" in attributes:
            frame.listed.append((line, attributes["sourceURL"]))


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise _DashError(f"{text[:20]!r} is not a whole number") from exc


def _representation(frame: _Frame) -> Iterator[Ref]:
    """The files of one Representation, in the order in which they are played."""
    content = frame.attributes.get("contentType", "")
    content = content or frame.attributes.get("mimeType", "").partition("/")[0]
    kind = {"video": AssetKind.VIDEO, "audio": AssetKind.AUDIO, "text": AssetKind.TEXT}.get(content)
    bandwidth = frame.attributes.get("bandwidth", "")
    rate = int(bandwidth) if bandwidth.isdigit() else 0
    for line, uri in frame.listed:
        yield Ref(line, urljoin(frame.base, uri), kind, rate)
    media = frame.template.get("media", "")
    line = frame.template_line
    if "initialization" in frame.template:
        known = _known(frame)
        uri = _expand(frame.template["initialization"], known)
        yield Ref(line, urljoin(frame.base, uri), kind, rate)
    if media:
        yield from _segments(frame, media, kind, rate)
    elif not frame.listed and "initialization" not in frame.template:
        yield Ref(frame.line, frame.base, kind, rate)


def _segments(frame: _Frame, media: str, kind: AssetKind | None, rate: int) -> Iterator[Ref]:
    known, line = _known(frame), frame.template_line
    if not frame.timeline or any(repeat < 0 for _, _, repeat in frame.timeline):
        folder = re.escape(urljoin(frame.base, "x")[:-1])
        shown = urljoin(frame.base, _expand(media, known, keep=True))
        yield Ref(line, shown, kind, rate, pattern=folder + _expand(media, known, as_regex=True))
        return
    number = _whole(frame.template.get("startNumber", "1"))
    for time in _times(frame.timeline):
        values = {**known, "Number": str(number), "Time": str(time)}
        yield Ref(line, urljoin(frame.base, _expand(media, values)), kind, rate)
        number += 1


def _times(timeline: list[tuple[int | None, int, int]]) -> Iterator[int]:
    if sum(repeat + 1 for _, _, repeat in timeline) > TIMELINE_MAX:
        raise _DashError(f"a timeline has more than {TIMELINE_MAX} segments")
    now = 0
    for start, duration, repeat in timeline:
        now = now if start is None else start
        for _ in range(repeat + 1):
            yield now
            now += duration


def _known(frame: _Frame) -> dict[str, str]:
    return {
        "RepresentationID": frame.attributes.get("id", ""),
        "Bandwidth": frame.attributes.get("bandwidth", ""),
    }


def _expand(
    template: str, values: Mapping[str, str], *, as_regex: bool = False, keep: bool = False
) -> str:
    """A template with its `$…$` filled in; unknown ones as `[0-9]+`, or kept as they stand."""
    parts, end = [], 0
    for match in _VARIABLE.finditer(template):
        literal = template[end : match.start()]
        parts.append(re.escape(literal) if as_regex else literal)
        end = match.end()
        parts.append(_filled(match, values, as_regex, keep))
    literal = template[end:]
    parts.append(re.escape(literal) if as_regex else literal)
    return "".join(parts)


def _filled(match: re.Match[str], values: Mapping[str, str], as_regex: bool, keep: bool) -> str:
    name, width = match[1], match[2]
    if name is None:
        return "$"  # `$$` is an escaped dollar sign
    if name not in values:
        return "[0-9]+" if as_regex else match[0] if keep else ""
    value = values[name].zfill(int(width)) if width else values[name]
    return re.escape(value) if as_regex else value
