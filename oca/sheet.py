"""What a worker knows of one asset's files, kept small: a line a file, found by its name. Pure.

~90 bytes a file where objects take ~600: a box with tens of thousands of episodes asked for at once
must not decode catalogue entries all the time, nor need a gigabyte a worker to avoid that.
"""

from __future__ import annotations

from oca.http.media import IMMUTABLE
from oca.http.respond import Facts, facts_of
from wire.catalogue import Asset

_SEPARATORS = frozenset(b"\0\n")  # no name of a file has them (wire.ids.FileName)


class Sheet:
    """One asset's files; of an asset that is not there, none."""

    __slots__ = ("_lines", "_modified_s", "_server")

    def __init__(self, asset: Asset | None, server: str) -> None:
        """`server` is this appliance's id, for Cache-Status."""
        files = asset.files if asset is not None else ()
        self._modified_s = asset.modified_s if asset is not None else 0
        self._server = server
        lines = (f"{file.name}\0{file.bytes}\0{file.etag}\0{file.media_type}" for file in files)
        self._lines = "\n".join(("", *lines, "")).encode()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory, about."""
        return len(self._lines)

    def __bool__(self) -> bool:
        """Whether there is any file."""
        return self.size_bytes > 1

    def get(self, name: bytes) -> Facts | None:
        """What is to be said of a file, None when the asset has none of that name."""
        at = -1 if _SEPARATORS & set(name) else self._lines.find(b"\n" + name + b"\0")
        if at < 0:
            return None
        line = self._lines[at + 1 : self._lines.index(b"\n", at + 1)]
        _, size, etag, media_type = line.split(b"\0")
        return facts_of(int(size), etag, self._modified_s, media_type, IMMUTABLE, self._server)
