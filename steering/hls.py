"""Add pathways and Content Steering to a multivariant playlist (RFC 8216bis §4.4.6, Apple's HLS
Content Steering specification). Pure: text in, text out.

Every variant is repeated for each pathway that holds it, with `PATHWAY-ID` and with rendition
groups of its own (same NAME and LANGUAGE), so that a player that leaves a pathway leaves it whole.
What the origin wrote is kept but for what would mislead players:

- `PATHWAY-ID` on EXT-X-MEDIA too: Shaka knows subtitles' pathways by nothing else, and has no URL
  for them without.
- Stable ids where there are none: Shaka merges tags that differ in group and URI only, so two
  audio groups with one NAME would become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steering.pathways import ManifestError, Pathway, best_folder, split_uri

LINES_MAX = 20_000  # a ladder of 20 with 50 languages has ~100; more is not a multivariant playlist
# Written once for each pathway with a URL of ~700 bytes: 1,000 of them make 3 MB for four.
VARIANTS_MAX = 1_000
MEDIA_MAX = 1_000
DEFINES_MAX = 100
MEDIA_TYPE = "application/vnd.apple.mpegurl"

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|\Z)')
_GROUPS = ("AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS")
_MEDIA, _VARIANT = "#EXT-X-MEDIA:", "#EXT-X-STREAM-INF:"
_IFRAMES, _STEERING = "#EXT-X-I-FRAME-STREAM-INF:", "#EXT-X-CONTENT-STEERING:"
_SESSION = ("#EXT-X-SESSION-DATA:", "#EXT-X-SESSION-KEY:")
_DEFINE = "#EXT-X-DEFINE:"
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]{1,128})\}")
_UNSTABLE = re.compile(
    r"[^A-Za-z0-9+/=.,_-]"
)  # RFC 8216bis §4.4.6.1: what a stable id may not have
_STABLE_CHARS_MAX = 128
_MEDIA_PLAYLIST_TAGS = ("#EXTINF:", "#EXT-X-TARGETDURATION:", "#EXT-X-MEDIA-SEQUENCE:")

Attributes = dict[str, str]
"""Attribute name → value as written, quotes included."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant (or I-frame variant): its attributes and its URI."""

    attributes: Attributes
    uri: str


@dataclass(frozen=True, slots=True)
class Session:
    """A session tag (EXT-X-SESSION-DATA, -KEY) whose URI is in a rendition's folder."""

    tag: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Multivariant:
    """A multivariant playlist, read once and written for every player anew."""

    head: tuple[str | Session, ...]
    media: tuple[Attributes, ...]
    variants: tuple[Variant, ...]
    iframes: tuple[Variant, ...]

    def usable(self, pathways: Sequence[Pathway]) -> list[Pathway]:
        """The pathways that have at least one variant with all that it needs."""
        return [
            way
            for way in pathways
            if any(_playable(self, variant, way, pathways) for variant in self.variants)
        ]

    def render(self, pathways: Sequence[Pathway], server_uri: str) -> str:
        """The playlist for one player: `pathways` best first (all usable), absolute URLs."""
        lines = ["#EXTM3U"]
        for line in self.head:
            lines += [line] if isinstance(line, str) else _session_line(line, pathways)
        lines.append(f'{_STEERING}SERVER-URI="{server_uri}",PATHWAY-ID="{pathways[0].id}"')
        for way in pathways:
            lines += (_MEDIA + _text(tag) for tag in self._media_of(way, pathways))
        for way in pathways:
            for variant in self.variants:
                if _playable(self, variant, way, pathways):
                    lines.append(_VARIANT + _text(self._attributes(variant, way, pathways)))
                    lines.append(_held_url(variant.uri, way) or variant.uri)
        for way in pathways:
            lines += (
                _IFRAMES + _text({**self._attributes(variant, way, pathways), "URI": f'"{url}"'})
                for variant in self.iframes
                if (url := _held_url(variant.uri, way)) is not None
            )
        return "\n".join(lines) + "\n"

    def _media_of(self, way: Pathway, pathways: Sequence[Pathway]) -> Iterator[Attributes]:
        """The renditions of one pathway: its own where it holds them, else the best holder's."""
        for tag in self.media:
            own = {**tag, "GROUP-ID": f'"{_group_id(_bare(tag["GROUP-ID"]), way)}"'}
            own["PATHWAY-ID"] = f'"{way.id}"'
            if "URI" in tag:
                url = _any_url(_bare(tag["URI"]), way, pathways)
                if url is None:
                    continue
                own["URI"] = f'"{url}"'
            yield own

    def _attributes(
        self, variant: Variant, way: Pathway, pathways: Sequence[Pathway]
    ) -> Attributes:
        """A variant's attributes on one pathway; groups that are empty there are not named."""
        own = {name: value for name, value in variant.attributes.items() if name != "PATHWAY-ID"}
        for name in _GROUPS:
            if own.get(name, "").startswith('"'):
                if _has_members(self, name, own[name], way, pathways):
                    own[name] = f'"{_group_id(_bare(own[name]), way)}"'
                else:
                    del own[name]
        own["PATHWAY-ID"] = f'"{way.id}"'
        return own


def read_multivariant(text: str) -> Multivariant:
    """Read the origin's multivariant playlist; raises ManifestError naming the line at fault."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or not lines[0].startswith("#EXTM3U") or len(lines) > LINES_MAX:
        raise ManifestError(f"line 1: this is not a playlist of at most {LINES_MAX} lines")
    reader = _Reader()
    for number, raw in enumerate(lines[1:], start=2):
        reader.line(number, raw.strip())
    return reader.done()


class _Reader:
    """Takes a playlist line by line."""

    def __init__(self) -> None:
        self.head: list[str | Session] = []
        self.media: list[Attributes] = []
        self.variants: list[Variant] = []
        self.iframes: list[Variant] = []
        self.defined: dict[str, str] = {}
        self.waiting: Attributes | None = None

    def line(self, number: int, line: str) -> None:
        """Take one line; raises ManifestError."""
        line = self._filled_in(number, line)
        if line.startswith(_MEDIA_PLAYLIST_TAGS):
            raise ManifestError(f"line {number}: this is a media playlist, not a multivariant one")
        if line.startswith(_VARIANT):
            self.waiting = _attributes(line, number)
        elif line.startswith(_MEDIA):
            self._media(number, _with(_attributes(line, number), "GROUP-ID", number))
        elif line.startswith(_IFRAMES):
            tag = _with(_attributes(line, number), "URI", number)
            self.iframes.append(_variant(tag, _bare(tag["URI"]), number))
        elif line.startswith("#EXT") and not line.startswith(_STEERING):
            self.head.append(self._head(number, line))
        elif line and not line.startswith("#"):
            if self.waiting is None:
                raise ManifestError(f"line {number}: a URI without #EXT-X-STREAM-INF before it")
            self.variants.append(_variant(self.waiting, line, number))
            self.waiting = None

    def done(self) -> Multivariant:
        """The whole; raises ManifestError where it is none, or too much."""
        if not self.variants:
            raise ManifestError("there is no variant in it")
        variants, renditions = len(self.variants) + len(self.iframes), len(self.media)
        if variants > VARIANTS_MAX or renditions > MEDIA_MAX:
            raise ManifestError(
                f"it has {variants} variants and {renditions} renditions; "
                f"at most {VARIANTS_MAX} and {MEDIA_MAX} are rewritten"
            )
        return Multivariant(
            tuple(self.head), tuple(self.media), tuple(self.variants), tuple(self.iframes)
        )

    def _media(self, number: int, tag: Attributes) -> None:
        if "URI" in tag:
            uri = _checked(_bare(tag["URI"]), number)
            tag = {"STABLE-RENDITION-ID": _stable(uri), **tag}
        self.media.append(tag)

    def _head(self, number: int, line: str) -> str | Session:
        if line.startswith(_DEFINE):
            self._define(_attributes(line, number))
        if not line.startswith(_SESSION):
            return line
        tag = _attributes(line, number)
        if split_uri(_checked(_bare(tag.get("URI", "")) or "data:", number)) is None:
            return line
        return Session(line[: line.index(":") + 1], tag)

    def _define(self, tag: Attributes) -> None:
        if "NAME" in tag and "VALUE" in tag and len(self.defined) < DEFINES_MAX:
            self.defined[_bare(tag["NAME"])] = _bare(tag["VALUE"])

    def _filled_in(self, number: int, line: str) -> str:
        """A line with its variables replaced (RFC 8216bis §4.3): URIs must be known here."""
        if "{$" not in line:
            return line

        def value(match: re.Match[str]) -> str:
            if match[1] not in self.defined:
                raise ManifestError(f"line {number}: the variable {match[1][:40]!r} has no value")
            return self.defined[match[1]]

        return _VARIABLE.sub(value, line)


def _variant(attributes: Attributes, uri: str, number: int) -> Variant:
    return Variant({"STABLE-VARIANT-ID": _stable(_checked(uri, number)), **attributes}, uri)


def _checked(uri: str, number: int) -> str:
    """A URI that can be served: in a rendition's folder, or somebody else's altogether."""
    if split_uri(uri) is None and not _ABSOLUTE.match(uri):
        raise ManifestError(
            f"line {number}: the URI {uri[:80]!r} does not begin with the folder of a rendition"
        )
    return uri


def _stable(uri: str) -> str:
    """A stable id for a URI that has none: the URI, as far as its letters are allowed in one."""
    plain = uri.partition("?")[0].removeprefix("./")
    return f'"{_UNSTABLE.sub("_", plain)[-_STABLE_CHARS_MAX:]}"'


def _session_line(line: Session, pathways: Sequence[Pathway]) -> list[str]:
    """A session tag with a URL at the best holder; left out where nobody holds it."""
    url = _any_url(_bare(line.attributes["URI"]), pathways[0], pathways)
    return [] if url is None else [line.tag + _text({**line.attributes, "URI": f'"{url}"'})]


def _attributes(line: str, number: int) -> Attributes:
    """The attribute list of a tag (RFC 8216 §4.2)."""
    text = line.partition(":")[2]
    found: Attributes = {}
    position = 0
    while position < len(text):
        match = _ATTRIBUTE.match(text, position)
        if match is None:
            raise ManifestError(f"line {number}: not an attribute list at {text[position:][:40]!r}")
        found[match[1]] = match[2]
        position = match.end()
        while text[position : position + 1] == " ":
            position += 1
    return found


def _with(attributes: Attributes, name: str, number: int) -> Attributes:
    if name not in attributes:
        raise ManifestError(f"line {number}: {name} is missing")
    return attributes


def _text(attributes: Attributes) -> str:
    return ",".join(f"{name}={value}" for name, value in attributes.items())


def _bare(value: str) -> str:
    return value.strip('"')


def _group_id(group: str, way: Pathway) -> str:
    return f"{group}@{way.id}"


def _held_url(uri: str, way: Pathway) -> str | None:
    """The URL of a variant on a pathway: None where it does not hold it. What is not relative to a
    rendition's folder is somebody else's, and stays as it is."""
    parts = split_uri(uri)
    if parts is None:
        return uri
    folder = way.folders.get(parts[0])
    return None if folder is None else folder + parts[1]


def _any_url(uri: str, way: Pathway, pathways: Sequence[Pathway]) -> str | None:
    """As `_held_url`, but at another pathway where this one does not hold it."""
    parts = split_uri(uri)
    if parts is None:
        return uri
    folder = best_folder(parts[0], way, pathways)
    return None if folder is None else folder + parts[1]


def _has_members(
    playlist: Multivariant, kind: str, group: str, way: Pathway, pathways: Sequence[Pathway]
) -> bool:
    return any(
        tag.get("TYPE") == kind
        and tag["GROUP-ID"] == group
        and ("URI" not in tag or _any_url(_bare(tag["URI"]), way, pathways) is not None)
        for tag in playlist.media
    )


def _playable(
    playlist: Multivariant, variant: Variant, way: Pathway, pathways: Sequence[Pathway]
) -> bool:
    """Whether a pathway holds a variant, and its sound can be had somewhere."""
    if _held_url(variant.uri, way) is None:
        return False
    group = variant.attributes.get("AUDIO")
    return group is None or _has_members(playlist, "AUDIO", group, way, pathways)
