"""What is said about a file by its name: media type and how long it may be cached. Pure."""

from __future__ import annotations

MEDIA_TYPES: dict[str, bytes] = {
    # HLS (RFC 8216 §10), DASH (ISO/IEC 23009-1), CMAF (ISO/IEC 23000-19)
    "m3u8": b"application/vnd.apple.mpegurl",
    "m3u": b"application/vnd.apple.mpegurl",
    "mpd": b"application/dash+xml",
    "ts": b"video/mp2t",
    "m2ts": b"video/mp2t",
    "mp4": b"video/mp4",
    "m4v": b"video/mp4",
    "m4s": b"video/iso.segment",
    "cmfv": b"video/mp4",
    "cmfa": b"audio/mp4",
    "cmft": b"application/mp4",
    "cmfm": b"application/mp4",
    "m4a": b"audio/mp4",
    "m4i": b"video/mp4",
    "init": b"video/mp4",
    "aac": b"audio/aac",
    "ac3": b"audio/ac3",
    "ec3": b"audio/eac3",
    "mp3": b"audio/mpeg",
    "ogg": b"audio/ogg",
    "opus": b"audio/ogg",
    "flac": b"audio/flac",
    "wav": b"audio/wav",
    "webm": b"video/webm",
    "mkv": b"video/x-matroska",
    "mov": b"video/quicktime",
    "vtt": b"text/vtt",
    "srt": b"application/x-subrip",
    "ttml": b"application/ttml+xml",
    "dfxp": b"application/ttml+xml",
    "key": b"application/octet-stream",
    # pages and pictures beside them
    "html": b"text/html; charset=utf-8",
    "htm": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "mjs": b"text/javascript; charset=utf-8",
    "json": b"application/json",
    "map": b"application/json",
    "xml": b"application/xml",
    "txt": b"text/plain; charset=utf-8",
    "md": b"text/markdown; charset=utf-8",
    "jpg": b"image/jpeg",
    "jpeg": b"image/jpeg",
    "png": b"image/png",
    "webp": b"image/webp",
    "avif": b"image/avif",
    "gif": b"image/gif",
    "svg": b"image/svg+xml",
    "ico": b"image/vnd.microsoft.icon",
    "wasm": b"application/wasm",
    "pdf": b"application/pdf",
    "gz": b"application/gzip",
    "zip": b"application/zip",
}

IMMUTABLE = b"public, max-age=31536000, immutable"
"""Of a catalogue's asset: a re-encode is another asset, so its bytes never change (RFC 8246)."""

FOLDER = b"public, max-age=60"
"""Of a file in a plain folder, which somebody may replace."""

REVALIDATE = b"no-cache"
"""Of a playlist in a plain folder: a packager rewrites it every few seconds."""


def media_type(name: str) -> bytes:
    """The Content-Type of a file by its suffix; application/octet-stream when it is unknown."""
    return MEDIA_TYPES.get(name.rpartition(".")[2].lower(), b"application/octet-stream")


def folder_cache_control(name: str) -> bytes:
    """Cache-Control of a file served from a plain folder (`oca serve --root`)."""
    return REVALIDATE if name.endswith((".m3u8", ".mpd", ".m3u")) else FOLDER
