"""What a file is by its name: media type (RFC 6838) and kind of asset. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from wire.catalogue import AssetKind

OTHER_TYPE = "application/octet-stream"
# RFC 8216 §4 (HLS), ISO/IEC 23009-1 Annex C (DASH), ISO/IEC 23000-19 (CMAF), RFC 4337 (MP4).
_TYPES: Mapping[str, str] = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    ".m4v": "video/mp4",
    ".cmfv": "video/mp4",
    ".m4a": "audio/mp4",
    ".cmfa": "audio/mp4",
    ".cmft": "application/mp4",
    ".ts": "video/mp2t",
    ".aac": "audio/aac",
    ".ac3": "audio/ac3",
    ".ec3": "audio/eac3",
    ".mp3": "audio/mpeg",
    ".webm": "video/webm",
    ".vtt": "text/vtt",
    ".webvtt": "text/vtt",
    ".ttml": "application/ttml+xml",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".json": "application/json",
    ".xml": "application/xml",
    ".txt": "text/plain",
}
# Boxes of ISO BMFF that may hold anything: the asset's kind decides.
_MP4 = (".mp4", ".m4s", ".cmf", ".init")
_MP4_TYPES: Mapping[AssetKind, str] = {
    AssetKind.AUDIO: "audio/mp4",
    AssetKind.TEXT: "application/mp4",
}
_TEXT_TYPES = ("text/vtt", "application/ttml+xml")
_WORDS: Mapping[str, AssetKind] = {
    "audio": AssetKind.AUDIO,
    "sound": AssetKind.AUDIO,
    "subs": AssetKind.TEXT,
    "subtitle": AssetKind.TEXT,
    "caption": AssetKind.TEXT,
}


def suffix_of(name: str) -> str:
    """The last suffix with its dot, in lower case ("" without one)."""
    _, dot, end = name.rpartition(".")
    return f".{end.lower()}" if dot else ""


def media_type(name: str, kind: AssetKind) -> str:
    """The media type of file `name` in an asset of this `kind`."""
    suffix = suffix_of(name)
    if suffix in _MP4:
        return _MP4_TYPES.get(kind, "video/mp4")
    return _TYPES.get(suffix, OTHER_TYPE)


def guess_kind(rendition: str, sizes_bytes: Mapping[str, int]) -> AssetKind:
    """What a rendition that no manifest describes carries, by its name and its heaviest files.

    `sizes_bytes` maps its files' names to their sizes.
    """
    weight: dict[AssetKind, int] = {}
    for name, size in sizes_bytes.items():
        kind = _kind_of(name)
        weight[kind] = weight.get(kind, 0) + size
    heaviest = max(weight, key=lambda kind: (weight[kind], kind.value))
    if heaviest is AssetKind.VIDEO:
        lower = rendition.lower()
        return next((kind for word, kind in _WORDS.items() if word in lower), heaviest)
    return heaviest


def _kind_of(name: str) -> AssetKind:
    kind = media_type(name, AssetKind.VIDEO)
    if kind in _TEXT_TYPES:
        return AssetKind.TEXT
    top = kind.partition("/")[0]
    if top in (AssetKind.VIDEO.value, AssetKind.AUDIO.value):
        return AssetKind(top)
    return AssetKind.DATA
