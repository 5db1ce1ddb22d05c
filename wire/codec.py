"""Bytes to typed values and back: tolerant of unknown fields, clear about missing ones."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from wire.errors import WireError

T = TypeVar("T")

# The largest legal control message is a plan of a million assets (~150 bytes each).
BODY_BYTES_MAX = 256 * 1024 * 1024


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(kind: type[T], raw: bytes, what: str) -> T:
    """Read JSON `raw` as a `kind`; raises WireError naming `what` and the field that is wrong."""
    try:
        value: T = _decoder(cast(Hashable, kind)).decode(raw)
        return value
    except msgspec.DecodeError as exc:
        raise blame(what, exc) from exc
    except UnicodeDecodeError as exc:
        raise WireError(what, f"byte {exc.start}", "this is not UTF-8") from exc
    except RecursionError as exc:
        raise WireError(what, "$", "this is nested too deep") from exc


def convert(kind: type[T], value: Any, what: str) -> T:
    """Read plain data (from TOML, say) as a `kind`; raises WireError as `decode` does."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise blame(what, exc) from exc


def encode(value: Any) -> bytes:
    """Write a wire value as JSON bytes: compact, fields in the order of their definition."""
    return msgspec.json.encode(value)


def blame(what: str, exc: msgspec.MsgspecError) -> WireError:
    """Turn a decoder's message into ours: `what`, the JSON path, and what was expected there."""
    detail, _, path = str(exc).partition(" - at `")
    return WireError(what, path.rstrip("`") or "$", detail)
