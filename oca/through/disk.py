"""The chunks on the disk: a file for each, visible when whole, never changed, never named again.

An adapter. A file per chunk and not one sparse file per object: so evicting is one unlink, and a
worker that is sending the chunk keeps its bytes (a hole punched there would be zeros on the wire).
A chunk is written to a file without a name (O_TMPFILE) and linked when it is whole, so that neither
`kill -9` nor a full disk leaves a partial one. Nothing is synced: what the page cache lost in a
power cut is found by the checksum in each file's trailer, for after a boot (another boot_id) chunks
are only believed when they have been read.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import xxhash

from oca.through.chunks import CHUNK_BYTES, TRAILER_BYTES
from oca.through.freshness import Freshness
from oca.through.validators import Validators
from wire.log import get

MAGIC = b"ocachnk1"
READ_BYTES = 256 * 1024
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_log = get("through")


class Meta(msgspec.Struct, frozen=True):
    """What is known of one version, as its file keeps it."""

    version: str
    key: str
    validators: Validators
    freshness: Freshness
    media_type: str
    lines: bytes
    date: str
    ranges: bool
    whole_only: bool = False


@dataclass(frozen=True, slots=True)
class Kept:
    """A version found on the disk, and its chunks as (number, bytes, time of writing)."""

    meta: Meta
    chunks: list[tuple[int, int, float]]


class Part:
    """A chunk on its way in; `bytes` of it are written. `in_memory` when the disk would not."""

    __slots__ = ("bytes", "digest", "fd", "in_memory", "name")

    def __init__(self, fd: int, version: str, number: int, *, name: str, in_memory: bool) -> None:
        """`name` is where it is, when the file system knows no files without one."""
        self.fd, self.name, self.in_memory, self.bytes = fd, name, in_memory, 0
        self.digest = xxhash.xxh3_128(b"%b.%d:" % (version.encode(), number))

    def write(self, data: bytes | memoryview) -> None:
        """Append; raises OSError."""
        self.digest.update(data)
        view = memoryview(data)
        while view:
            done = os.pwrite(self.fd, view, self.bytes)
            self.bytes += done
            view = view[done:]

    def give_away(self) -> int:
        """The descriptor is the caller's from now on."""
        fd, self.fd = self.fd, -1
        return fd

    def close(self) -> None:
        """The end of it, unless it was stored."""
        if self.name:
            with suppress(OSError):
                Path(self.name).unlink()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def new_version() -> str:
    """A name that no version ever had."""
    return secrets.token_hex(8)


def chunk_path(folder: str, version: str, number: int) -> str:
    """Where a stored chunk is; `folder` is the region's."""
    return f"{folder}/c/{version[:2]}/{version}.{number}"


class Room:
    """The folder of one region; one process writes in it."""

    def __init__(self, folder: Path) -> None:
        """Make it ready: what an older boot left is set aside, to be verified."""
        self.folder = folder
        self._chunks = folder / "c"
        folder.mkdir(parents=True, exist_ok=True)
        self._set_aside()
        for i in range(256):
            (self._chunks / f"{i:02x}").mkdir(parents=True, exist_ok=True)
        self._tmpfile = True
        for left in folder.glob("*.part"):
            left.unlink()

    def _set_aside(self) -> None:
        mark, boot = self.folder / "boot", BOOT_ID.read_text()
        if self._chunks.exists() and not (mark.exists() and mark.read_text() == boot):
            self._chunks.rename(self.folder / f"old-{secrets.token_hex(4)}")
        part = self.folder / "boot.part"
        part.write_text(boot)
        part.rename(mark)

    # --- one chunk -------------------------------------------------------------------------------

    def new_part(self, version: str, number: int) -> Part:
        """A file for a chunk, in memory when the disk is full or broken; raises OSError."""
        flags = os.O_RDWR | os.O_CLOEXEC
        name = ""
        try:
            if self._tmpfile:
                try:
                    fd = os.open(self._chunks, flags | os.O_TMPFILE, 0o600)
                except OSError as exc:
                    if exc.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT):
                        raise
                    self._tmpfile = False
            if not self._tmpfile:
                name = str(self.folder / f"{secrets.token_hex(8)}.part")
                fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            if exc.errno not in _FULL:
                raise
            return self.memory_part(version, number)
        return Part(fd, version, number, name=name, in_memory=False)

    def memory_part(self, version: str, number: int) -> Part:
        """A chunk that will not be stored; raises OSError."""
        fd = os.memfd_create("oca-chunk", os.MFD_CLOEXEC)
        return Part(fd, version, number, name="", in_memory=True)

    def store(self, part: Part, version: str, number: int) -> bool:
        """Give a whole chunk its name; False when the disk would not: it is gone with its `fd`."""
        if part.in_memory:
            return False
        path = chunk_path(str(self.folder), version, number)
        try:
            tail = MAGIC + bytes.fromhex(version) + part.digest.digest()
            os.pwrite(part.fd, tail, part.bytes)
            if part.name:
                Path(part.name).rename(path)
                part.name = ""
            else:
                # a descriptor for src_dir_fd makes Python call linkat(2) and follow the link
                os.link(f"/proc/self/fd/{part.fd}", path, src_dir_fd=part.fd, follow_symlinks=True)
        except FileExistsError:
            return True
        except OSError as exc:
            _log.error("a chunk cannot be stored", why=exc.strerror)
            return False
        return True

    def remove(self, version: str, numbers: list[int], *, meta: bool = False) -> None:
        """Unlink chunks, and with `meta` what is known of the version as well."""
        paths = [chunk_path(str(self.folder), version, number) for number in numbers]
        if meta:
            paths.append(str(self._meta_path(version)))
        for path in paths:
            try:
                os.unlink(path)  # noqa: PTH108 - one string, no object
            except FileNotFoundError:
                continue
            except OSError as exc:
                _log.error("a chunk cannot be removed", why=exc.strerror)

    # --- versions --------------------------------------------------------------------------------

    def _meta_path(self, version: str) -> Path:
        return self._chunks / version[:2] / f"{version}.meta"

    def write_meta(self, meta: Meta) -> bool:
        """Keep what is known of a version; False when the disk would not."""
        raw = msgspec.json.encode(meta)
        path = self._meta_path(meta.version)
        part = path.with_suffix(".new")
        try:
            part.write_bytes(xxhash.xxh3_64_hexdigest(raw).encode() + b"\n" + raw)
            part.rename(path)
        except OSError as exc:
            _log.error("a version cannot be stored", why=exc.strerror)
            return False
        return True

    def kept(self) -> Iterator[Kept]:
        """What is stored and can be believed; orphans are removed."""
        for bucket in sorted(self._chunks.iterdir()):
            yield from _kept_in(bucket)

    def unverified(self) -> Iterator[Kept]:
        """What an older boot left, each verified and moved to where it is served from.

        Reads every byte: run it in a thread, at leisure.
        """
        for old in sorted(self.folder.glob("old-*")):
            for bucket in sorted(old.iterdir()):
                for kept in _kept_in(bucket):
                    yield self._verified(bucket, kept)
                with suppress(OSError):
                    bucket.rmdir()
            with suppress(OSError):
                old.rmdir()

    def _verified(self, bucket: Path, kept: Kept) -> Kept:
        version, good = kept.meta.version, []
        self.write_meta(kept.meta)
        for number, length, written_s in kept.chunks:
            path = bucket / f"{version}.{number}"
            if is_sound(path, version, number):
                path.rename(chunk_path(str(self.folder), version, number))
                good.append((number, length, written_s))
            else:
                path.unlink()
                _log.warning("a chunk did not survive", version=version, number=number)
        (bucket / f"{version}.meta").unlink()
        return Kept(kept.meta, good)


def is_sound(path: Path, version: str, number: int) -> bool:
    """Whether a chunk's file is what was written; reads it."""
    digest = xxhash.xxh3_128(b"%b.%d:" % (version.encode(), number))
    try:
        with path.open("rb", buffering=0) as file:
            left = path.stat().st_size - TRAILER_BYTES
            while left > 0:
                data = file.read(min(READ_BYTES, left))
                if not data:
                    return False
                digest.update(data)
                left -= len(data)
            tail = file.read(TRAILER_BYTES)
    except OSError:
        return False
    return tail == MAGIC + bytes.fromhex(version) + digest.digest()


def _kept_in(bucket: Path) -> Iterator[Kept]:
    """The versions of one folder; what belongs to none is removed."""
    chunks: dict[str, list[tuple[int, int, float]]] = {}
    metas = []
    with os.scandir(bucket) as entries:
        for entry in entries:
            version, _, rest = entry.name.partition(".")
            if rest == "meta":
                metas.append(version)
            elif rest.isdigit():
                st = entry.stat()
                length = st.st_size - TRAILER_BYTES
                if 0 < length <= CHUNK_BYTES:
                    chunks.setdefault(version, []).append((int(rest), length, st.st_mtime))
            else:
                os.unlink(entry.path)  # noqa: PTH108 - one string, no object
    for version in metas:
        meta = _read_meta(bucket / f"{version}.meta")
        if meta is None or meta.version != version or version not in chunks:
            (bucket / f"{version}.meta").unlink()
        else:
            yield Kept(meta, chunks.pop(version))
    for version, orphans in chunks.items():
        for number, _, _ in orphans:
            (bucket / f"{version}.{number}").unlink()


def _read_meta(path: Path) -> Meta | None:
    check, _, raw = path.read_bytes().partition(b"\n")
    if check.decode("latin-1") != xxhash.xxh3_64_hexdigest(raw):
        return None
    try:
        return msgspec.json.decode(raw, type=Meta)
    except msgspec.DecodeError:
        return None
