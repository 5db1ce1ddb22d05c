"""What is known of one stored asset. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """One asset that is stored: its bytes, and the SHA-256 (hex) of its catalogue entry."""

    bytes: int
    digest: str
