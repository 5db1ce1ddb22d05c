"""Read the playlists that the scripted player follows (RFC 8216, HLS Content Steering). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urljoin

_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)')
DEFAULT_PATHWAY = "."


class PlaylistError(Exception):
    """A playlist is not what it should be; the text says what is wrong and where."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One stream of the multivariant playlist on one pathway, with its sound (URLs absolute)."""

    pathway: str
    bandwidth_bps: int
    url: str
    audio_url: str | None


@dataclass(frozen=True, slots=True)
class Multivariant:
    """All variants, and where to ask for steering (None without the tag)."""

    variants: tuple[Variant, ...]
    steering_url: str | None
    first_pathway: str | None

    def best_on(self, pathway: str) -> Variant | None:
        """The variant of highest rate that this pathway offers."""
        mine = [variant for variant in self.variants if variant.pathway == pathway]
        return max(mine, key=lambda variant: variant.bandwidth_bps, default=None)

    def pathways(self) -> list[str]:
        """Pathway ids in the order of the playlist."""
        return list(dict.fromkeys(variant.pathway for variant in self.variants))


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: file name as the playlist gives it, and its length in seconds."""

    uri: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class MediaPlaylist:
    """A media playlist: the init segment's URI and the segments in order."""

    init_uri: str
    segments: tuple[Segment, ...]


def attributes(text: str) -> dict[str, str]:
    """The attribute list of a tag (RFC 8216 §4.2), quotes removed."""
    return {name: value.strip('"') for name, value in _ATTRIBUTE.findall(text)}


def read_multivariant(text: str, url: str) -> Multivariant:
    """Read the multivariant playlist fetched from `url`; raises PlaylistError."""
    lines = _lines(text, url)
    sounds: dict[str, str] = {}
    variants: list[Variant] = []
    steering: dict[str, str] = {}
    pending: dict[str, str] | None = None
    for line in lines:
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-MEDIA":
            media = attributes(rest)
            if media.get("TYPE") == "AUDIO" and "URI" in media:
                sounds.setdefault(media.get("GROUP-ID", ""), urljoin(url, media["URI"]))
        elif tag == "#EXT-X-CONTENT-STEERING":
            steering = attributes(rest)
        elif tag == "#EXT-X-STREAM-INF":
            pending = attributes(rest)
        elif not line.startswith("#") and pending is not None:
            variants.append(_variant(pending, urljoin(url, line), sounds))
            pending = None
    if not variants:
        raise PlaylistError(f"{url}: no variant in the playlist")
    server = steering.get("SERVER-URI")
    return Multivariant(
        variants=tuple(variants),
        steering_url=urljoin(url, server) if server else None,
        first_pathway=steering.get("PATHWAY-ID"),
    )


def read_media(text: str, url: str) -> MediaPlaylist:
    """Read a media playlist fetched from `url`; raises PlaylistError unless it is whole."""
    init, segments, duration_s, ended = "", [], 0.0, False
    for line in _lines(text, url):
        tag, _, rest = line.partition(":")
        if tag == "#EXT-X-MAP":
            init = attributes(rest).get("URI", "")
        elif tag == "#EXTINF":
            duration_s = float(rest.partition(",")[0])
        elif tag == "#EXT-X-ENDLIST":
            ended = True
        elif not line.startswith("#"):
            segments.append(Segment(line, duration_s))
    if not init or not segments or not ended:
        raise PlaylistError(f"{url}: the media playlist is not whole")
    return MediaPlaylist(init, tuple(segments))


def _variant(info: dict[str, str], url: str, sounds: dict[str, str]) -> Variant:
    return Variant(
        pathway=info.get("PATHWAY-ID", DEFAULT_PATHWAY),
        bandwidth_bps=int(info.get("BANDWIDTH", "0")),
        url=url,
        audio_url=sounds.get(info.get("AUDIO", "")),
    )


def _lines(text: str, url: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U":
        raise PlaylistError(f"{url}: this is no playlist")
    return lines
