"""The ledger of published generations: whole folders made visible by one rename each.

`generations/<generation>/` holds `plan.parquet`, `asked.parquet`, `schedule.parquet`,
`slices/<appliance>.jws` (what boxes get) and `manifest.json`; `generations/current` names the one
in force. A crash at any instant leaves the old one in force.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fill.generation import Summary
from fill.planfile import read_plan, read_table, write_table
from fill.rows import Rows
from wire.codec import decode, encode
from wire.durable import sync_folder, write_durably
from wire.errors import NotFoundError, UnavailableError, WireError

CURRENT_NAME = "current"
MANIFEST_NAME = "manifest.json"
SLICES = "slices"
PLAN, ASKED, SCHEDULE = "plan.parquet", "asked.parquet", "schedule.parquet"
_BEFORE = "plans"  # where generations were before they had tables; their numbers stay used up
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation ready to be published: its manifest, tables by file name, and the signed
    slices as (appliance, bytes)."""

    summary: Summary
    tables: Mapping[str, Any]
    slices: Iterable[tuple[str, bytes]]


class Ledger:
    """The generations below one state folder."""

    def __init__(self, state: Path) -> None:
        """Makes the folder if there is none."""
        self.root = state / "generations"
        self.root.mkdir(parents=True, exist_ok=True)
        self._before = state / _BEFORE / CURRENT_NAME

    @property
    def current_path(self) -> Path:
        """The pointer to the generation in force; it changes with every publication."""
        return self.root / CURRENT_NAME

    def current(self) -> int:
        """The generation in force; 0 before the first. Raises WireError for a broken pointer."""
        return _pointer(self.current_path)

    def numbers(self) -> list[int]:
        """All generations that are kept, oldest first."""
        return sorted(int(each.name) for each in self.root.iterdir() if each.name.isdigit())

    def next_number(self, at_least: int = 1) -> int:
        """One above all there ever was (a crash may have left a folder beyond the current one), and
        `at_least` that: boxes may know of generations that a lost state does not."""
        return max([at_least - 1, self.current(), _pointer(self._before), *self.numbers()]) + 1

    def plan_bytes(self, generation: int, appliance: str) -> bytes | None:
        """The signed plan of one appliance; None if it has none there."""
        try:
            return (self.root / str(generation) / SLICES / f"{appliance}.jws").read_bytes()
        except FileNotFoundError:
            return None

    def plans(self, generation: int) -> dict[str, bytes]:
        """All signed plans of a generation; raises NotFoundError if it is not kept."""
        folder = self._folder(generation) / SLICES
        return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.jws"))}

    def rows(self, generation: int, appliances: Iterable[str] | None = None) -> Rows:
        """The plan of a generation (of some boxes) as columns; raises NotFoundError, WireError."""
        return read_plan(self._folder(generation) / PLAN, appliances)

    def table(self, generation: int, name: str, filters: Any = None) -> Any:
        """Rows of one of its tables (as pyarrow has them); raises NotFoundError, WireError."""
        return read_table(self._folder(generation) / name, filters)

    def summary(self, generation: int) -> Summary:
        """The manifest of a generation; raises NotFoundError if it is not kept."""
        path = self._folder(generation) / MANIFEST_NAME
        return decode(Summary, path.read_bytes(), str(path))

    def publish(self, generation: Generation, keep: int) -> None:
        """Write a generation, then put it in force; forget all but the `keep` newest ones."""
        number = generation.summary.generation
        self._clean()
        build = self.root / f"{_NEW}-{number}"
        (build / SLICES).mkdir(parents=True)
        for appliance, raw in generation.slices:
            (build / SLICES / f"{appliance}.jws").write_bytes(raw)
        digests = {}
        for name, table in generation.tables.items():
            write_table(build / name, table)
            with (build / name).open("rb") as written:
                digests[name] = hashlib.file_digest(written, "sha256").hexdigest()
        summary = replace(generation.summary, files=digests)
        (build / MANIFEST_NAME).write_bytes(encode(summary))
        for path in (*build.iterdir(), *(build / SLICES).iterdir(), build):
            _sync(path)
        build.rename(self.root / str(number))
        sync_folder(self.root)
        write_durably(self.current_path, f"{number}\n".encode())
        for old in self.numbers()[:-keep]:
            shutil.rmtree(self.root / str(old), ignore_errors=True)

    def _folder(self, generation: int) -> Path:
        folder = self.root / str(generation)
        if not folder.is_dir():
            kept = ", ".join(map(str, self.numbers())) or "none"
            raise NotFoundError(f"there is no generation {generation}; kept are: {kept}")
        return folder

    def _clean(self) -> None:
        for left in self.root.glob(f"{_NEW}-*"):
            shutil.rmtree(left)


def _pointer(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        return 0
    if not text.isdigit():
        raise WireError(str(path), "", "this is not a generation's number")
    return int(text)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the state folder's lock; raises UnavailableError if another planner has it."""
    state.mkdir(parents=True, exist_ok=True)
    fd = os.open(state / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UnavailableError(f"another fill command is at work in {state}") from exc
        yield
    finally:
        os.close(fd)
