"""A shelf on which nothing is: all that is served is fetched. An adapter by its base alone."""

from __future__ import annotations

from collections.abc import Set

from oca.files import Entry, Shelf


class NoFiles(Shelf):
    """Has no file of any name."""

    def _load(self, name: tuple[bytes, ...], key: bytes, absent: Set[bytes]) -> Entry | None:
        return None
