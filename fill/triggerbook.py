"""Trigger status resources on the disk (`triggers.json` in the state folder)."""

from __future__ import annotations

from pathlib import Path

from fill.triggers import Status
from wire.codec import decode, encode
from wire.durable import write_durably
from wire.errors import WireError

NAME = "triggers.json"


def read_book(state: Path) -> tuple[Status, ...]:
    """The triggers on disk; raises WireError when they cannot be read."""
    path = state / NAME
    try:
        return decode(Book, path.read_bytes(), str(path))
    except FileNotFoundError:
        return ()
    except OSError as exc:
        raise WireError(str(path), "", f"cannot be read: {exc.strerror}") from exc


def write_book(state: Path, book: tuple[Status, ...]) -> None:
    """Replace the triggers on disk."""
    write_durably(state / NAME, encode(book))


Book = tuple[Status, ...]
