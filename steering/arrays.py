"""Arrays in one buffer: written once, then read where they lie, from memory or a mapped file. Pure.

Layout: magic, length of a JSON header (u32), the header (what is said about the arrays, then name,
type, offset and count of each), and the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from wire.codec import decode
from wire.errors import WireError

MAGIC = b"oca-arr1"
_ALIGN = 64
_LENGTH_BYTES = 4
Array = NDArray[Any]
Buffer = bytes | memoryview


class _Where(msgspec.Struct, frozen=True):
    name: str
    kind: Any
    offset: int
    count: int


class _Header(msgspec.Struct, frozen=True):
    what: str
    meta: dict[str, Any]
    arrays: tuple[_Where, ...]


def to_bytes(what: str, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """One buffer of one-dimensional arrays; `what` names the kind of document."""
    places, offset = [], 0
    for name, array in arrays.items():
        kind = array.dtype.descr if array.dtype.names else array.dtype.str
        places.append(_Where(name, kind, offset, len(array)))
        offset += _up(array.nbytes)
    header = msgspec.json.encode(_Header(what, dict(meta), tuple(places)))
    begin = _up(len(MAGIC) + _LENGTH_BYTES + len(header))
    head = (MAGIC + len(header).to_bytes(_LENGTH_BYTES) + header).ljust(begin, b"\0")
    bodies = (array.tobytes().ljust(_up(array.nbytes), b"\0") for array in arrays.values())
    return head + b"".join(bodies)


def from_buffer(what: str, buffer: Buffer) -> tuple[dict[str, Any], dict[str, Array]]:
    """(what was said, the arrays as read-only views of the buffer); raises WireError."""
    view = memoryview(buffer)
    head_bytes = len(MAGIC) + _LENGTH_BYTES
    if bytes(view[: len(MAGIC)]) != MAGIC or len(view) < head_bytes:
        raise WireError(what, "", "these are no arrays of ours")
    length = int.from_bytes(view[len(MAGIC) : head_bytes])
    header = decode(_Header, bytes(view[head_bytes : head_bytes + length]), what)
    if header.what != what:
        raise WireError(what, "what", f"this is a {header.what!r}")
    begin, arrays = _up(head_bytes + length), {}
    try:
        for place in header.arrays:
            kind = np.dtype(_descr(place.kind))
            array = np.frombuffer(view, kind, place.count, begin + place.offset)
            array.flags.writeable = False
            arrays[place.name] = array
    except (ValueError, TypeError) as exc:
        raise WireError(what, "", f"the arrays are cut off or damaged: {exc}") from exc
    return header.meta, arrays


def _descr(kind: Any) -> Any:
    return [tuple(field) for field in kind] if isinstance(kind, list) else kind


def _up(count: int) -> int:
    return -(-count // _ALIGN) * _ALIGN
