"""Open files safely and keep the busy ones open: only regular files, only inside the root.

A file is first opened without side effects (O_PATH), then asked by the kernel where it really is
(/proc/self/fd), then opened to read: a symlink that leads out, a device or a FIFO is never opened,
and there is no moment in which a name could be swapped. Small files are kept in memory with their
head, larger ones as descriptors; both within bounds, and the one not asked for lately leaves first
(CLOCK). Files are never read through a mapping: an I/O error would be SIGBUS.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path

import msgspec

from oca.http.media import IMMUTABLE, folder_cache_control, media_type
from oca.http.respond import Facts, facts_of, part_tail, whole_tail
from oca.store import ENTRY, SHELF, Store
from wire.catalogue import Asset
from wire.codec import decode
from wire.errors import UnavailableError, WireError
from wire.ids import ASSET_ID_MAX
from wire.log import get

MEMORY_FILE_BYTES_MAX = 64 * 1024
"""Up to here one write of head and body beats a head and a sendfile (measured: 1.3x at 4 KiB)."""

RECHECK_S = 1.0
"""A file in a plain folder may be replaced: it is looked at again after this long."""

WARM_SHIFT = 20
WARM_BYTES = 1 << WARM_SHIFT
"""Files are probed, read ahead, and believed to be in the page cache by so much at a time."""

WARM_S = 1.0
"""How long a block seen in the page cache is believed to be there: what is sent is the last that
the kernel evicts, and a mistake costs one wait for the disk."""

WARM_BLOCKS_MAX = 64  # remembered per file

CATALOGUE_ENTRIES_MAX = 1024  # entries of assets kept as read; one of 1,200 files is ~600 kB
_PROC = "/proc/self/fd/%d"
_GONE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EINVAL}
)
_log = get("files")

Identity = tuple[int, int, int, int, int]


class Entry:
    """One file that may be sent. `check_at_s` (monotonic) is when it must be looked up again.

    `fd` is -1 when the bytes are in memory (`body`). `ok_tail` is a plain 200's head after the
    Date, and the body with it when that is in memory; `part_tail` a 206's head between Date and
    Content-Length. Whoever is sending it counts in `users`.
    """

    __slots__ = (
        "_warm",
        "body",
        "check_at_s",
        "facts",
        "fd",
        "identity",
        "ok_tail",
        "part_tail",
        "used",
        "users",
    )

    def __init__(self, facts: Facts, fd: int, body: bytes | None, identity: Identity) -> None:
        self.facts, self.fd, self.body, self.identity = facts, fd, body, identity
        self.ok_tail = whole_tail(facts) + (body or b"")
        self.part_tail = part_tail(facts)
        self.check_at_s = 0.0
        self.users = 0
        self.used = True
        self._warm: dict[int, float] = {}

    def warm_to(self, start: int, length: int, now_s: float) -> int:
        """The end of what may be sent from `start` without waiting for a disk; `start` for nothing.

        Looks at first and last page of at most WARM_BYTES (CONTRACTS.md, Workers); what was said of
        a whole block of the file is believed for WARM_S. `now_s` is monotonic.
        """
        end = start + min(length, WARM_BYTES)
        warm = self._warm
        if (
            warm
            and warm.get(start >> WARM_SHIFT, 0.0) > now_s
            and warm.get((end - 1) >> WARM_SHIFT, 0.0) > now_s
        ):
            return end
        if not in_page_cache(self.fd, start) or not in_page_cache(self.fd, end - 1):
            return start
        self.note_read(start, end - start, now_s)
        return end

    def note_read(self, start: int, length: int, now_s: float) -> None:
        """A span was seen, or just brought, into the page cache; believed when it is a block."""
        block, end = start >> WARM_SHIFT, start + length
        whole = start == block << WARM_SHIFT and (length >> WARM_SHIFT or end == self.facts.size)
        if not whole:
            return
        if len(self._warm) >= WARM_BLOCKS_MAX:
            self._warm.clear()
        self._warm[block] = now_s + WARM_S

    def release(self) -> None:
        """One sender less; a forgotten file is closed with its last one."""
        self.users -= 1
        if self.users == 0 and self.check_at_s < 0:
            self._close()

    def forget(self) -> None:
        """Out of the cache: closed now, or with its last sender."""
        self.check_at_s = -1.0
        if self.users == 0:
            self._close()

    def _close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


_NO_PROBE = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def in_page_cache(fd: int, offset: int) -> bool:
    """Whether the byte at `offset` can be read without a wait (preadv2(2), RWF_NOWAIT).

    A file system that cannot say so (FUSE, some network ones) counts as cold: a thread reads it.
    An error of the disk counts as warm, for sending it will say what is wrong.
    """
    try:
        os.preadv(fd, (_PROBE,), offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as exc:
        return exc.errno not in _NO_PROBE
    return True


_PROBE = bytearray(1)


class Shelf(ABC):
    """The bounded memory of entries, by name; what it does not hold is opened by a subclass."""

    def __init__(self, open_files_max: int, memory_bytes_max: int) -> None:
        """At most so many descriptors, and bytes of bodies in memory."""
        self._open_max, self._memory_max = open_files_max, memory_bytes_max
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._open = self._memory = 0

    def get(self, name: tuple[bytes, ...], now_s: float) -> Entry | None:
        """The file of these path segments, None when there is none; `now_s` is monotonic.

        Raises UnavailableError when the disk or the process's limits fail us.
        """
        key = b"/".join(name)
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
            if now_s < entry.check_at_s or self._still(name, entry, now_s):
                return entry
            self._drop(key, entry)
        entry = self._load(name, now_s)
        if entry is not None:
            self._keep(key, entry)
        return entry

    def forget(self) -> None:
        """Close everything: what was true may not be so any more (the generation rose)."""
        for key, entry in list(self._entries.items()):
            self._drop(key, entry)

    @abstractmethod
    def _load(self, name: tuple[bytes, ...], now_s: float) -> Entry | None: ...

    @abstractmethod
    def _still(self, name: tuple[bytes, ...], entry: Entry, now_s: float) -> bool: ...

    def _keep(self, key: bytes, entry: Entry) -> None:
        self._entries[key] = entry
        if entry.body is None:
            self._open += 1
        else:
            self._memory += len(entry.body)
        while self._open > self._open_max or self._memory > self._memory_max:
            oldest, victim = self._entries.popitem(last=False)
            self._entries[oldest] = victim
            if victim.used and victim is not entry:
                victim.used = False
            elif victim is entry and len(self._entries) > 1:
                continue
            else:
                self._drop(oldest, victim)

    def _drop(self, key: bytes, entry: Entry) -> None:
        del self._entries[key]
        if entry.body is None:
            self._open -= 1
        else:
            self._memory -= len(entry.body)
        entry.forget()


def _identity(st: os.stat_result) -> Identity:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def _unavailable(what: str, exc: OSError) -> UnavailableError:
    _log.error("cannot open", what=what, why=exc.strerror)
    return UnavailableError(f"{what}: {exc.strerror}")


def open_inside(root: str, name: bytes) -> tuple[int, os.stat_result] | None:
    """A descriptor to read `root`/`name` and its stat, None when there is no such file to serve.

    `root` may itself be reached by symlinks. Raises UnavailableError for what is our own fault.
    """
    path = os.fsencode(root) + b"/" + name
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in _GONE:
            return None
        raise _unavailable(root, exc) from exc
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode) or not _is_inside(root, place):
            return None
        fd = os.open(_PROC % place, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno in _GONE:
            return None
        raise _unavailable(root, exc) from exc
    finally:
        os.close(place)
    return fd, os.fstat(fd)


def _is_inside(root: str, fd: int) -> bool:
    """Whether the file really lies under `root`, and under no dot folder there."""
    real = os.path.realpath(root).rstrip("/") + "/"
    there = os.readlink(_PROC % fd)  # noqa: PTH115 - a link of the kernel's, kept as text
    inside = there.startswith(real) and "/." not in there[len(real) - 1 :]
    if not inside:
        _log.warning("a link leads out of the root", to=there)
    return inside


def _entry(facts: Facts, fd: int, identity: Identity) -> Entry | None:
    """Keep a small file's bytes, or the descriptor; None when it changed under our hands."""
    if facts.size > MEMORY_FILE_BYTES_MAX:
        return Entry(facts, fd, None, identity)
    try:
        body = os.pread(fd, facts.size + 1, 0)
    except OSError as exc:
        raise _unavailable("read", exc) from exc
    finally:
        os.close(fd)
    return Entry(facts, -1, body, identity) if len(body) == facts.size else None


class FolderFiles(Shelf):
    """Any folder, read-only, as it is: `oca serve --root`."""

    def __init__(self, root: str, open_files_max: int, memory_bytes_max: int) -> None:
        """`root` is resolved anew at each opening, so a swapped symlink takes effect."""
        super().__init__(open_files_max, memory_bytes_max)
        self._root = root

    def _load(self, name: tuple[bytes, ...], now_s: float) -> Entry | None:
        found = open_inside(self._root, b"/".join(name))
        if found is None:
            return None
        fd, st = found
        label = os.fsdecode(name[-1])
        etag = b'"%x-%x"' % (st.st_mtime_ns, st.st_size)
        facts = facts_of(
            st.st_size,
            etag,
            max(0, int(st.st_mtime)),
            media_type(label),
            folder_cache_control(label),
            "oca",
        )
        entry = _entry(facts, fd, _identity(st))
        if entry is not None:
            entry.check_at_s = now_s + RECHECK_S
        return entry

    def _still(self, name: tuple[bytes, ...], entry: Entry, now_s: float) -> bool:
        path = os.fsencode(self._root) + b"/" + b"/".join(name)
        try:
            same = _identity(os.stat(path)) == entry.identity  # noqa: PTH116 - bytes path
        except OSError:
            return False
        if same:
            entry.check_at_s = now_s + RECHECK_S
        return same


class StoreFiles(Shelf):
    """An appliance's store: `a/<asset>/<file>`; facts come from the catalogue's entry."""

    def __init__(
        self, store: Store, server: str, open_files_max: int, memory_bytes_max: int
    ) -> None:
        """`server` is this appliance's id, for Cache-Status."""
        super().__init__(open_files_max, memory_bytes_max)
        self._store, self._server = store, server
        self._assets: OrderedDict[int, dict[bytes, Facts]] = OrderedDict()

    def forget(self) -> None:
        """Catalogue entries are forgotten with the files, and which disks there are."""
        super().forget()
        self._store.disks.refresh()
        self._assets.clear()

    def _load(self, name: tuple[bytes, ...], now_s: float) -> Entry | None:
        asset = asset_of(name)
        if asset is None:
            return None
        facts = self._facts(asset).get(name[2])
        if facts is None:
            return None
        found = None
        for root in self._store.roots(asset):
            found = found or open_inside(str(root), b"/".join(name))
        if found is None:
            return None
        fd, st = found
        if st.st_size != facts.size:
            os.close(fd)
            _log.error("not what the catalogue says", asset=asset, file=os.fsdecode(name[2]))
            return None
        entry = _entry(facts, fd, _identity(st))
        if entry is not None:
            entry.check_at_s = math.inf
        return entry

    def _still(self, name: tuple[bytes, ...], entry: Entry, now_s: float) -> bool:
        return False

    def _facts(self, asset: int) -> dict[bytes, Facts]:
        facts = self._assets.get(asset)
        if facts is None:
            facts = self._read_entry(asset)
            if facts:
                if len(self._assets) >= CATALOGUE_ENTRIES_MAX:
                    self._assets.popitem(last=False)
                self._assets[asset] = facts
        return facts

    def _read_entry(self, asset: int) -> dict[bytes, Facts]:
        for root in self._store.roots(asset):
            entry = self._read_asset(root / SHELF / str(asset) / ENTRY)
            if entry is not None:
                return self._facts_of(asset, entry)
        return {}

    def _read_asset(self, path: Path) -> Asset | None:
        try:
            return decode(Asset, path.read_bytes(), str(path))
        except FileNotFoundError:
            return None
        except (OSError, WireError, msgspec.DecodeError) as exc:
            _log.error("catalogue entry unreadable", path=str(path), why=str(exc))
            return None

    def _facts_of(self, asset: int, entry: Asset) -> dict[bytes, Facts]:
        if entry.id != asset:
            _log.error("catalogue entry of another asset", asset=asset, says=entry.id)
            return {}
        return {
            file.name.encode(): facts_of(
                file.bytes,
                file.etag.encode(),
                entry.modified_s,
                file.media_type.encode(),
                IMMUTABLE,
                self._server,
            )
            for file in entry.files
        }


def asset_of(name: tuple[bytes, ...]) -> int | None:
    """The asset that `a/<asset>/<file>` names, None when the path has another shape."""
    if len(name) != 3 or name[0] != b"a" or not name[1].isdigit() or len(name[1]) > 10:
        return None
    asset = int(name[1])
    return asset if b"%d" % asset == name[1] and asset <= ASSET_ID_MAX else None
