"""Read what manifests need from CMAF files: codec string, timescale, times. Pure: bytes in."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

BOX_HEAD_BYTES = 8
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf")
# ISO/IEC 14496-12 §8.8.7 and §8.8.8: flags that say which optional fields are present.
TFHD_BASE_OFFSET, TFHD_DESCRIPTION, TFHD_DURATION = 0x1, 0x2, 0x8
TRUN_DATA_OFFSET, TRUN_FIRST_FLAGS = 0x1, 0x4
TRUN_SAMPLE_FIELDS = (0x100, 0x200, 0x400, 0x800)


@dataclass(frozen=True, slots=True)
class Track:
    """A rendition's init segment: RFC 6381 codec string and ticks per second."""

    codec: str
    timescale: int


@dataclass(frozen=True, slots=True)
class Span:
    """A media segment's place in time, in ticks of its track's timescale."""

    start_ticks: int
    duration_ticks: int


def read_init(raw: bytes) -> Track:
    """Codec and timescale from an init segment; raises ValueError when it has none of ours."""
    codec = timescale = None
    for name, body in _boxes(raw):
        if name == b"mdhd":
            timescale = _u32(body, 20 if body[0] == 1 else 12)
        elif name == b"stsd":
            codec = _codec(body)
    if codec is None or timescale is None:
        raise ValueError("this is no init segment of one H.264 or AAC track")
    return Track(codec, timescale)


def read_span(raw: bytes) -> Span:
    """Start and duration of a media segment, all its fragments together; raises ValueError."""
    start: int | None = None
    duration = default = 0
    for name, body in _boxes(raw):
        if name == b"tfhd":
            default = _default_duration(body)
        elif name == b"tfdt" and start is None:
            start = struct.unpack_from(">Q", body, 4)[0] if body[0] == 1 else _u32(body, 4)
        elif name == b"trun":
            duration += _run_duration(body, default)
    if start is None:
        raise ValueError("this is no media segment: it has no decode time")
    return Span(start, duration)


def _boxes(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every box with its body, containers opened in place (ISO/IEC 14496-12 §4.2)."""
    at = 0
    while at + BOX_HEAD_BYTES <= len(raw):
        size, name = struct.unpack_from(">I4s", raw, at)
        if size < BOX_HEAD_BYTES:
            return
        body = raw[at + BOX_HEAD_BYTES : at + size]
        if name in CONTAINERS:
            yield from _boxes(body)
        else:
            yield name, body
        at += size


def _codec(stsd: bytes) -> str | None:
    if stsd[12:16] == b"mp4a":
        return "mp4a.40.2"
    at = stsd.find(b"avcC")
    # ISO/IEC 14496-15 §5.3.3: profile, compatibility, level follow the version byte.
    return f"avc1.{stsd[at + 5 : at + 8].hex()}" if at >= 0 else None


def _u32(body: bytes, at: int) -> int:
    value: int = struct.unpack_from(">I", body, at)[0]
    return value


def _default_duration(tfhd: bytes) -> int:
    flags = _u32(tfhd, 0) & 0xFFFFFF
    if not flags & TFHD_DURATION:
        return 0
    at = 8 + (8 if flags & TFHD_BASE_OFFSET else 0) + (4 if flags & TFHD_DESCRIPTION else 0)
    return _u32(tfhd, at)


def _run_duration(trun: bytes, default_ticks: int) -> int:
    flags, samples = _u32(trun, 0) & 0xFFFFFF, _u32(trun, 4)
    if not flags & TRUN_SAMPLE_FIELDS[0]:
        return default_ticks * samples
    at = 8 + 4 * bool(flags & TRUN_DATA_OFFSET) + 4 * bool(flags & TRUN_FIRST_FLAGS)
    stride = 4 * sum(bool(flags & field) for field in TRUN_SAMPLE_FIELDS)
    return sum(_u32(trun, at + stride * n) for n in range(samples))
