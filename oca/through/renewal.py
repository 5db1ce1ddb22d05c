"""What a confirmation (304, or more of the same version) says anew: RFC 9111 §3.2, §4.3.4. Pure."""

from __future__ import annotations

from oca.through.freshness import Freshness, Headers, freshness_of, why_not_stored

_KEPT = frozenset({"content-encoding", "etag", "last-modified", "set-cookie"})
"""What describes the bytes that are held, or is for one client, stays as it was."""


def merged(old: bytes, new: bytes) -> bytes:
    """The header lines of a version, those of its confirmation in place of their namesakes."""
    fresh = [(name, line) for name, line in _lines(new) if name not in _KEPT]
    said = {name for name, _ in fresh}
    kept = [(name, line) for name, line in _lines(old) if name not in said]
    return b"".join(line + b"\r\n" for _, line in (*kept, *fresh))


def contradicts(etag: str, headers: Headers) -> bool:
    """Whether a confirmation is of another version than the one of tag `etag`, or says that what is
    held is not to be shared any more: then it must be asked for as if nothing were held."""
    other = headers.get("etag", "").strip().removeprefix("W/")
    changed = bool(other and etag) and other != etag.removeprefix("W/")
    return changed or why_not_stored(headers) in ("no-store", "private")


def renewed(lines: bytes, headers: Headers, asked_s: float, came_s: float) -> Freshness:
    """The freshness of what was confirmed: its `lines` are merged already, `headers` of the
    confirmation say how old that was. Times are Unix seconds."""
    said: dict[str, str] = {}
    for name, line in _lines(lines):
        value = line.partition(b":")[2].strip().decode("latin-1")
        said[name] = f"{said[name]}, {value}" if name in said else value
    said |= {name: headers[name] for name in ("age", "date") if name in headers}
    return freshness_of(said, asked_s, came_s)


def _lines(raw: bytes) -> list[tuple[str, bytes]]:
    """Lower-case name and whole line of each."""
    return [
        (line.partition(b":")[0].decode("latin-1").lower(), line)
        for line in raw.split(b"\r\n")
        if line
    ]
