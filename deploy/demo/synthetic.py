"""Assets of noise that give the boxes a choice to make: sizes, parts and bytes. Pure.

Their names are `synthetic-001` …; what is in them depends on the name alone, so two machines (and
two runs) make the same catalogue.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

COUNT = 200
RENDITION = "data"
PART_BYTES = 128 * 1024
# Mean 450 kB: two hundred of them weigh about as much as the two films.
SIZE_BYTES_MIN = 150_000
SIZE_BYTES_MAX = 1_150_000


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a synthetic asset: its name and size in bytes."""

    name: str
    size_bytes: int


def title_of(number: int) -> str:
    """The title of synthetic asset `number` (from 1)."""
    return f"synthetic-{number:03d}"


def parts_of(title: str) -> list[Part]:
    """The files of `title`; sizes are log-uniform between the bounds, drawn from its name."""
    draw = int.from_bytes(hashlib.sha256(f"size {title}".encode()).digest()[:8]) / 2**64
    left = round(SIZE_BYTES_MIN * (SIZE_BYTES_MAX / SIZE_BYTES_MIN) ** draw)
    parts: list[Part] = []
    while left > 0:
        parts.append(Part(f"part-{len(parts)}.bin", min(left, PART_BYTES)))
        left -= PART_BYTES
    return parts


def content(title: str, part: Part) -> bytes:
    """The bytes of a part: noise that no compression shrinks, the same on every machine."""
    return hashlib.shake_128(f"{title}/{part.name}".encode()).digest(part.size_bytes)
