"""How a file that another process reads becomes visible: whole, synced, by one rename."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `data`: a reader, or a crash, sees the old or the new, never half."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except BaseException as exc:
        part.unlink(missing_ok=True)
        if isinstance(exc, OSError):
            exc.filename = str(path)  # the system names no file when a disk is full
        raise
    finally:
        os.close(fd)
    part.rename(path)
    sync_folder(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Make a file of one's own (mode 600) that must not exist yet; raises OSError naming it, and
    then there is none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(fd)
    except OSError as exc:
        path.unlink(missing_ok=True)
        exc.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and removals inside `folder` survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def why_not_writable(folder: Path) -> str | None:
    """Why nothing could be written in `folder`, or in what is to hold it; None if it can."""
    place = folder
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            return f"{place} is no folder"
    except OSError as exc:
        return f"{place}: {exc.strerror}"
    return None if os.access(place, os.W_OK | os.X_OK) else f"{place} cannot be written by us"
