"""The ledger of published generations: whole folders made visible by one rename each.

`plans/<generation>/` holds `<appliance>.jws`, `summary.json` and `told/<site>.json`, and
`plans/current` names the one in force. A crash at any instant leaves the old one in force.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fill.generation import SiteTold, Summary
from wire.codec import decode, encode
from wire.durable import sync_folder, write_durably
from wire.errors import NotFoundError, UnavailableError, WireError

CURRENT_NAME = "current"
SUMMARY_NAME = "summary.json"
_NEW = ".new"


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation ready to be published: signed plans by appliance, and what explains them."""

    summary: Summary
    plans: Mapping[str, bytes]
    told: Mapping[str, SiteTold]


class Ledger:
    """The generations below one state folder."""

    def __init__(self, state: Path) -> None:
        """Makes the folder if there is none."""
        self.root = state / "plans"
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def current_path(self) -> Path:
        """The pointer to the generation in force; it changes with every publication."""
        return self.root / CURRENT_NAME

    def current(self) -> int:
        """The generation in force; 0 before the first. Raises WireError for a broken pointer."""
        try:
            text = self.current_path.read_text().strip()
        except FileNotFoundError:
            return 0
        if not text.isdigit():
            raise WireError(str(self.current_path), "", "this is not a generation's number")
        return int(text)

    def numbers(self) -> list[int]:
        """All generations that are kept, oldest first."""
        return sorted(int(each.name) for each in self.root.iterdir() if each.name.isdigit())

    def next_number(self) -> int:
        """One above all there ever was: a crash may have left a folder beyond the current one."""
        return max([0, self.current(), *self.numbers()]) + 1

    def plan_bytes(self, generation: int, appliance: str) -> bytes | None:
        """The signed plan of one appliance; None if it has none there."""
        try:
            return (self.root / str(generation) / f"{appliance}.jws").read_bytes()
        except FileNotFoundError:
            return None

    def plans(self, generation: int) -> dict[str, bytes]:
        """All signed plans of a generation; raises NotFoundError if it is not kept."""
        folder = self._folder(generation)
        return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.jws"))}

    def summary(self, generation: int) -> Summary:
        """The summary of a generation; raises NotFoundError if it is not kept."""
        path = self._folder(generation) / SUMMARY_NAME
        return decode(Summary, path.read_bytes(), str(path))

    def told(self, generation: int, site: str) -> SiteTold | None:
        """The reasons of one site in a generation; None where there are none."""
        path = self.root / str(generation) / "told" / f"{site}.json"
        if not path.exists():
            return None
        return decode(SiteTold, path.read_bytes(), str(path))

    def publish(self, generation: Generation, keep: int) -> None:
        """Write a generation, then put it in force; forget all but the `keep` newest ones."""
        number = generation.summary.generation
        self._clean()
        build = self.root / f"{_NEW}-{number}"
        (build / "told").mkdir(parents=True)
        for appliance, raw in generation.plans.items():
            write_durably(build / f"{appliance}.jws", raw)
        for site, told in generation.told.items():
            write_durably(build / "told" / f"{site}.json", encode(told))
        write_durably(build / SUMMARY_NAME, encode(generation.summary))
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
