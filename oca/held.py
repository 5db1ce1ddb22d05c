"""What is known of one stored asset. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """One asset that is stored: its bytes, the SHA-256 (hex) of its catalogue entry, and the uuid
    of the disk that it is on ("" where there is but one, without identity)."""

    bytes: int
    digest: str
    disk: str = ""
