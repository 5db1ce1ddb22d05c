"""Keep the busy files open: the bounded memory of what is served, and what is known of each file.

Small files are kept in memory with their head, larger ones as descriptors; both within bounds, and
the one not asked for lately leaves first (CLOCK). How files are opened: oca.opening. What cannot be
opened or read without a wait for a disk raises `Cold`: a thread does it, then the request is asked
again.
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from array import array
from collections import OrderedDict
from collections.abc import Callable, Set
from functools import partial

import msgspec

from oca.http.dates import past
from oca.http.media import folder_cache_control, media_type
from oca.http.respond import Facts, facts_of, part_tail, whole_tail
from oca.opening import Cold, Landing, Opener, in_page_cache, read_whole, unavailable
from oca.sheet import Sheet
from oca.store import ENTRY, SHELF, Store
from wire.catalogue import Asset
from wire.codec import decode
from wire.errors import WireError
from wire.ids import ASSET_ID_MAX
from wire.log import Bounded

MEMORY_FILE_BYTES_MAX = 64 * 1024
"""Up to here one write of head and body beats a head and a sendfile (measured: 1.3x at 4 KiB)."""

RECHECK_S = 1.0
"""A file in a plain folder may be replaced: it is looked at again after this long."""

WARM_SHIFT = 20
WARM_BYTES = 1 << WARM_SHIFT
"""Files are probed, read ahead, and believed to be in the page cache by so much at a time."""

WARM_TICKS_A_S = 2
"""A block seen in the page cache is believed to be there until the next tick is over, 0.5 to 1 s:
what is sent is the last that the kernel evicts, and a mistake costs one wait for the disk."""

SHEETS_BYTES_MAX = 64 * 1024 * 1024
"""What is kept of catalogue entries: one of 1,200 files takes ~110 kB, so some 600 of those."""
_log = Bounded("files")  # what requests can cause

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
        self._warm = array("I")

    def warm_to(self, start: int, length: int, now_s: float) -> int:
        """The end of what may be sent from `start` without waiting for a disk; `start` for nothing.

        Looks at first and last page of at most WARM_BYTES (CONTRACTS.md, Workers), and of the
        blocks of the file that they are in; a whole block is then believed for a while
        (WARM_TICKS_A_S). `now_s` is monotonic.
        """
        end = start + min(length, WARM_BYTES)
        first, last = start >> WARM_SHIFT, (end - 1) >> WARM_SHIFT
        warm, tick = self._warm, int(now_s * WARM_TICKS_A_S)
        if last < len(warm) and warm[first] >= tick and warm[last] >= tick:
            return end
        if not in_page_cache(self.fd, start) or not in_page_cache(self.fd, end - 1):
            return start
        for block in range(first, last + 1):
            low = block << WARM_SHIFT
            high = max(end, min(low + WARM_BYTES, self.facts.size))
            if (low >= start or in_page_cache(self.fd, low)) and (
                high <= end or in_page_cache(self.fd, high - 1)
            ):
                self._believe(block, now_s)
        return end

    def note_read(self, start: int, length: int, now_s: float) -> None:
        """A span was just brought into the page cache; believed when it is a block."""
        block, end = start >> WARM_SHIFT, start + length
        if start == block << WARM_SHIFT and (length >> WARM_SHIFT or end == self.facts.size):
            self._believe(block, now_s)

    def _believe(self, block: int, now_s: float) -> None:
        warm = self._warm
        if block >= len(warm):
            warm.extend([0] * (block + 1 - len(warm)))
        warm[block] = int(now_s * WARM_TICKS_A_S) + 1

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


class Shelf(ABC):
    """The bounded memory of entries, by name; what it does not hold is opened by a subclass."""

    recheck_s = math.inf  # how long a file is believed to be what it was

    def __init__(self, open_files_max: int, memory_bytes_max: int) -> None:
        """At most so many descriptors, and bytes of bodies in memory."""
        self._open_max, self._memory_max = open_files_max, memory_bytes_max
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._open = self._memory = 0
        self._life = 0  # counts what was forgotten, so that no thread brings it back
        self._opener = Opener()

    def get(
        self, name: tuple[bytes, ...], now_s: float, absent: Set[bytes] = frozenset()
    ) -> Entry | None:
        """The file of these path segments, None when there is none; `now_s` is monotonic.

        Raises Cold when a disk has to be asked: after that was done, ask again; `absent` has the
        keys for which nothing was found. Raises UnavailableError when the disk or the process's
        limits fail us.
        """
        key = b"/".join(name)
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = True
            if now_s < entry.check_at_s or self._still(key, entry, now_s):
                return entry
            self._drop(key, entry)
        if key in absent:
            return None
        entry = self._load(name, key, absent)
        if entry is not None:
            self._keep(key, entry, now_s)
        return entry

    def forget(self) -> None:
        """Close everything: what was true may not be so any more (the generation rose)."""
        self._life += 1
        for key, entry in list(self._entries.items()):
            self._drop(key, entry)

    @abstractmethod
    def _load(self, name: tuple[bytes, ...], key: bytes, absent: Set[bytes]) -> Entry | None: ...

    def _still(self, key: bytes, entry: Entry, now_s: float) -> bool:
        """Whether it is what it was; a subclass may look."""
        return False

    def _try(self, key: bytes, open_it: Callable[[bool], Entry | None]) -> Entry | None:
        """Open it without a wait, or raise Cold; `open_it(True)` may wait, in a thread."""
        try:
            return open_it(False)
        except BlockingIOError:
            raise Cold(key, partial(self._open_in_thread, key, open_it, self._life)) from None

    def _open_in_thread(
        self, key: bytes, open_it: Callable[[bool], Entry | None], life: int
    ) -> Landing:
        entry = open_it(True)
        return partial(self._land, key, entry, life)

    def _land(self, key: bytes, entry: Entry | None, life: int, now_s: float) -> bool:
        if entry is None:
            return False
        if life != self._life:
            entry.forget()
            return True  # it may be there: whoever waits asks again
        before = self._entries.get(key)
        if before is not None:
            self._drop(key, before)
        self._keep(key, entry, now_s)
        return True

    def _keep(self, key: bytes, entry: Entry, now_s: float) -> None:
        entry.check_at_s = now_s + self.recheck_s
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
            elif victim is not entry:
                self._drop(oldest, victim)
            elif len(self._entries) == 1:
                return  # whoever asked for it must find it

    def _drop(self, key: bytes, entry: Entry) -> None:
        del self._entries[key]
        if entry.body is None:
            self._open -= 1
        else:
            self._memory -= len(entry.body)
        entry.forget()


def _identity(st: os.stat_result) -> Identity:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def _entry(facts: Facts, fd: int, identity: Identity, *, wait: bool) -> Entry | None:
    """Keep a small file's bytes, or the descriptor; None when it changed under our hands.

    Raises UnavailableError, BlockingIOError when it is cold; the descriptor is closed then.
    """
    if facts.size > MEMORY_FILE_BYTES_MAX:
        return Entry(facts, fd, None, identity)
    try:
        body = read_whole(fd, facts.size, wait=wait)
    except BlockingIOError:
        raise
    except OSError as exc:
        raise unavailable("read", exc) from exc
    finally:
        os.close(fd)
    return Entry(facts, -1, body, identity) if len(body) == facts.size else None


class FolderFiles(Shelf):
    """Any folder, read-only, as it is: `oca serve --root`."""

    recheck_s = RECHECK_S

    def __init__(self, root: str, open_files_max: int, memory_bytes_max: int) -> None:
        """`root` is resolved anew at each opening, so a swapped symlink takes effect."""
        super().__init__(open_files_max, memory_bytes_max)
        self._root = root

    def _load(self, name: tuple[bytes, ...], key: bytes, absent: Set[bytes]) -> Entry | None:
        return self._try(key, partial(self._open_file, os.fsdecode(name[-1]), key))

    def _open_file(self, label: str, key: bytes, wait: bool) -> Entry | None:
        found = self._opener.open_inside(self._root, key, wait=wait)
        if found is None:
            return None
        fd, st = found
        etag = b'"%x-%x"' % (st.st_mtime_ns, st.st_size)
        modified_s = past(int(st.st_mtime), time.time())
        facts = facts_of(
            st.st_size, etag, modified_s, media_type(label), folder_cache_control(label), "oca"
        )
        return _entry(facts, fd, _identity(st), wait=wait)

    def _still(self, key: bytes, entry: Entry, now_s: float) -> bool:
        try:
            st = self._opener.stat(os.fsencode(self._root) + b"/" + key)
        except OSError:
            return False  # a wait as well: it is opened anew
        same = _identity(st) == entry.identity
        if same:
            entry.check_at_s = now_s + self.recheck_s
        return same


class StoreFiles(Shelf):
    """An appliance's store: `a/<asset>/<file>`; facts come from the catalogue's entry."""

    def __init__(
        self, store: Store, server: str, open_files_max: int, memory_bytes_max: int
    ) -> None:
        """`server` is this appliance's id, for Cache-Status."""
        super().__init__(open_files_max, memory_bytes_max)
        self._store, self._server = store, server
        self._assets: OrderedDict[int, Sheet] = OrderedDict()
        self._sheets_bytes = 0

    def forget(self) -> None:
        """Catalogue entries are forgotten with the files, and which disks there are."""
        super().forget()
        self._store.disks.refresh()
        self._assets.clear()
        self._sheets_bytes = 0

    def _load(self, name: tuple[bytes, ...], key: bytes, absent: Set[bytes]) -> Entry | None:
        asset = asset_of(name)
        if asset is None:
            return None
        facts = self._sheet(asset, absent).get(name[2])
        if facts is None:
            return None
        return self._try(key, partial(self._open_file, asset, key, facts))

    def _open_file(self, asset: int, key: bytes, facts: Facts, wait: bool) -> Entry | None:
        for root in self._store.roots(asset):
            found = self._opener.open_inside(str(root), key, wait=wait)
            if found is not None:
                return self._entry_of(asset, key, facts, found, wait=wait)
        return None

    def _entry_of(
        self, asset: int, key: bytes, facts: Facts, found: tuple[int, os.stat_result], *, wait: bool
    ) -> Entry | None:
        fd, st = found
        if st.st_size != facts.size:
            os.close(fd)
            _log.error("not what the catalogue says", asset=asset, file=os.fsdecode(key))
            return None
        return _entry(facts, fd, _identity(st), wait=wait)

    def _sheet(self, asset: int, absent: Set[bytes]) -> Sheet:
        sheet = self._assets.get(asset)
        if sheet is not None:
            self._assets.move_to_end(asset)
            return sheet
        key = b"a/%d/%b" % (asset, ENTRY.encode())  # no client can name it: a dot file
        if key in absent:
            return Sheet(None, self._server)
        try:
            sheet = self._read_entry(asset, wait=False)
        except BlockingIOError:
            raise Cold(key, partial(self._read_in_thread, asset, self._life)) from None
        self._know(asset, sheet)
        return sheet

    def _read_in_thread(self, asset: int, life: int) -> Landing:
        sheet = self._read_entry(asset, wait=True)

        def land(_now_s: float) -> bool:
            if life == self._life:
                self._know(asset, sheet)
            return bool(sheet)

        return land

    def _know(self, asset: int, sheet: Sheet) -> None:
        if not sheet or asset in self._assets:
            return
        self._assets[asset] = sheet
        self._sheets_bytes += sheet.size_bytes
        while self._sheets_bytes > SHEETS_BYTES_MAX and len(self._assets) > 1:
            _, oldest = self._assets.popitem(last=False)
            self._sheets_bytes -= oldest.size_bytes

    def _read_entry(self, asset: int, *, wait: bool) -> Sheet:
        """The files of an asset, none when it is not there; raises BlockingIOError when cold."""
        for root in self._store.roots(asset):
            entry = self._read_asset(f"{root}/{SHELF}/{asset}/{ENTRY}", wait=wait)
            if entry is not None and entry.id == asset:
                modified_s = past(entry.modified_s, time.time())
                entry = msgspec.structs.replace(entry, modified_s=modified_s)
                return Sheet(entry, self._server)
            if entry is not None:
                _log.error("catalogue entry of another asset", asset=asset, says=entry.id)
        return Sheet(None, self._server)

    def _read_asset(self, path: str, *, wait: bool) -> Asset | None:
        try:
            return decode(Asset, self._opener.read(path, wait=wait), path)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            raise
        except (OSError, WireError, msgspec.DecodeError) as exc:
            _log.error("catalogue entry unreadable", path=path, why=str(exc))
            return None


def asset_of(name: tuple[bytes, ...]) -> int | None:
    """The asset that `a/<asset>/<file>` names, None when the path has another shape."""
    if len(name) != 3 or name[0] != b"a" or not name[1].isdigit() or len(name[1]) > 10:
        return None
    asset = int(name[1])
    return asset if b"%d" % asset == name[1] and asset <= ASSET_ID_MAX else None
