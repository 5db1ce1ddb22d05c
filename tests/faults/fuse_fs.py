# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH208 - calls go through as they come
"""A file system that fails on command: a FUSE server that passes through to a folder.

Speaks the kernel's protocol itself (linux/fuse.h, 7.31), so that no library has to be there; needs
root and /dev/fuse. It runs in a process of its own (a process must not wait for itself), reads its
rules from a file whenever that changes, and serves many requests at once, so that one that hangs
does not stop the others:

    python -m tests.faults.fuse_fs BACKING MOUNT RULES
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_WRITE = 128 * 1024
THREADS = 24
INIT_FLAGS = 1 | 1 << 5 | 1 << 18  # async reads, large writes, look-ups of one folder at once
MS_NOSUID_NODEV = 2 | 4
MNT_DETACH = 2
IN = struct.Struct("<IIQQIIIHH")
OUT = struct.Struct("<IiQ")
ATTR = struct.Struct("<6Q10I")
LIBC = ctypes.CDLL(None, use_errno=True)
OPS = {
    1: "lookup", 2: "forget", 3: "getattr", 4: "setattr", 9: "mkdir", 10: "unlink", 11: "rmdir",
    12: "rename", 13: "link", 14: "open", 15: "read", 16: "write", 17: "statfs", 18: "release",
    20: "fsync", 25: "flush", 26: "init", 27: "opendir", 28: "readdir", 29: "releasedir",
    30: "fsyncdir", 35: "create", 36: "interrupt", 38: "destroy", 42: "batch_forget",
    43: "fallocate", 45: "rename2",
}  # fmt: skip
SILENT = {"forget", "batch_forget", "interrupt"}


@dataclass
class Rule:
    """What goes wrong: for these `ops` (empty: all), on paths that contain `path`.

    `delay_s` first; then `errno` if not 0; `hang` waits until the rule is taken away.
    """

    ops: list[str] = field(default_factory=list)
    path: str = ""
    errno: int = 0
    delay_s: float = 0.0
    hang: bool = False

    def fits(self, op: str, path: str) -> bool:
        """Whether it is meant."""
        return (not self.ops or op in self.ops) and self.path in path


class Rules:
    """The rules as the file has them now."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen, self._rules = path, (0, 0), list[Rule]()

    def now(self) -> list[Rule]:
        """Read again when the file was replaced."""
        try:
            st = self._path.stat()
            if (st.st_ino, st.st_mtime_ns) != self._seen:
                self._rules = [Rule(**rule) for rule in json.loads(self._path.read_text())]
                self._seen = (st.st_ino, st.st_mtime_ns)
        except FileNotFoundError:
            self._rules = []
        return self._rules

    def apply(self, op: str, path: str) -> None:
        """Wait or raise as the rules say."""
        for rule in self.now():
            if rule.fits(op, path):
                time.sleep(rule.delay_s)
                while rule.hang and rule in self.now():
                    time.sleep(0.02)
                if rule.errno:
                    raise OSError(rule.errno, os.strerror(rule.errno))


class Passthrough:
    """The operations; nodes are numbers for paths below `backing`."""

    def __init__(self, backing: Path, rules: Rules) -> None:
        self._backing, self._rules = str(backing), rules
        self._paths: dict[int, str] = {1: ""}
        self._nodes: dict[str, int] = {"": 1}
        self._next = 2
        self._lock = threading.Lock()

    def handle(self, op: str, node: int, body: bytes) -> bytes:
        """The reply's body; raises OSError."""
        path = self._paths.get(node, "")
        name = self._name(op, body)
        self._rules.apply(op, f"{path}/{name}" if name else path)
        return getattr(self, f"_{op}")(node, body)

    def _name(self, op: str, body: bytes) -> str:
        skip = {"lookup": 0, "unlink": 0, "rmdir": 0, "mkdir": 8, "create": 16}.get(op)
        return "" if skip is None else body[skip:].split(b"\0")[0].decode()

    def _real(self, node: int, name: str = "") -> str:
        with self._lock:
            path = self._paths.get(node)
        if path is None:
            raise OSError(errno.ESTALE, "gone")
        return f"{self._backing}{path}/{name}" if name else f"{self._backing}{path}"

    def _node(self, parent: int, name: str) -> int:
        with self._lock:
            path = f"{self._paths[parent]}/{name}"
            if path not in self._nodes:
                self._nodes[path], self._paths[self._next] = self._next, path
                self._next += 1
            return self._nodes[path]

    def _moved(self, old: str, new: str) -> None:
        with self._lock:
            for path in [p for p in self._nodes if p == new or p.startswith(new + "/")]:
                self._paths.pop(self._nodes.pop(path), None)
            for path in [p for p in self._nodes if p == old or p.startswith(old + "/")]:
                node = self._nodes.pop(path)
                self._nodes[new + path[len(old) :]] = node
                self._paths[node] = new + path[len(old) :]

    def _gone(self, parent: int, name: str) -> None:
        with self._lock:
            node = self._nodes.pop(f"{self._paths[parent]}/{name}", None)
            if node is not None:
                self._paths.pop(node, None)

    @staticmethod
    def _attr(st: os.stat_result) -> bytes:
        times = [divmod(ns, 10**9) for ns in (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns)]
        seconds, nanos = [t[0] for t in times], [t[1] for t in times]
        return ATTR.pack(st.st_ino, st.st_size, st.st_blocks, *seconds, *nanos, st.st_mode,
                         st.st_nlink, st.st_uid, st.st_gid, 0, 4096, 0)  # fmt: skip

    def _entry(self, parent: int, name: str) -> bytes:
        st = os.lstat(self._real(parent, name))
        return struct.pack("<4Q2I", self._node(parent, name), 0, 0, 0, 0, 0) + self._attr(st)

    def _init(self, _node: int, body: bytes) -> bytes:
        _major, minor, readahead, _flags = struct.unpack_from("<4I", body)
        return struct.pack("<4I2H2I2HI7I", 7, min(minor, 31), readahead, INIT_FLAGS, 16, 12,
                           MAX_WRITE, 1, 32, 0, 0, *[0] * 7)  # fmt: skip

    def _lookup(self, node: int, body: bytes) -> bytes:
        return self._entry(node, body.rstrip(b"\0").decode())

    def _getattr(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self._attr(os.lstat(self._real(node)))

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _fh, size, _, atime, mtime, _ = struct.unpack_from("<2I6Q", body)
        mode = struct.unpack_from("<I", body, 68)[0]
        path = self._real(node)
        if valid & 8:
            os.truncate(path, size)
        if valid & 1:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & 0x30:
            now = time.time()
            os.utime(path, (now if valid & 128 else atime, now if valid & 256 else mtime))
        return self._getattr(node, b"")

    def _mkdir(self, node: int, body: bytes) -> bytes:
        name = self._name("mkdir", body)
        os.mkdir(self._real(node, name), struct.unpack_from("<I", body)[0])
        return self._entry(node, name)

    def _unlink(self, node: int, body: bytes) -> bytes:
        name = self._name("unlink", body)
        os.unlink(self._real(node, name))
        self._gone(node, name)
        return b""

    def _rmdir(self, node: int, body: bytes) -> bytes:
        name = self._name("rmdir", body)
        os.rmdir(self._real(node, name))
        self._gone(node, name)
        return b""

    def _rename(self, node: int, body: bytes, skip: int = 8) -> bytes:
        new_parent = struct.unpack_from("<Q", body)[0]
        old, new = (part.decode() for part in body[skip:].split(b"\0")[:2])
        os.rename(self._real(node, old), self._real(new_parent, new))
        self._moved(f"{self._paths[node]}/{old}", f"{self._paths[new_parent]}/{new}")
        return b""

    def _rename2(self, node: int, body: bytes) -> bytes:
        if struct.unpack_from("<I", body, 8)[0]:
            raise OSError(errno.EINVAL, "flags")
        return self._rename(node, body, 16)

    def _link(self, node: int, body: bytes) -> bytes:
        old, name = struct.unpack_from("<Q", body)[0], body[8:].rstrip(b"\0").decode()
        os.link(self._real(old), self._real(node, name))
        return self._entry(node, name)

    def _open(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0] & ~(os.O_CREAT | os.O_EXCL | os.O_DIRECT)
        return struct.pack("<QII", os.open(self._real(node), flags), 0, 0)

    def _create(self, node: int, body: bytes) -> bytes:
        flags, mode = struct.unpack_from("<2I", body)
        name = self._name("create", body)
        fd = os.open(self._real(node, name), (flags & ~os.O_DIRECT) | os.O_CREAT, mode)
        return self._entry(node, name) + struct.pack("<QII", fd, 0, 0)

    def _read(self, _node: int, body: bytes) -> bytes:
        fh, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(fh, size, offset)

    def _write(self, _node: int, body: bytes) -> bytes:
        fh, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(fh, body[40 : 40 + size], offset), 0)

    def _release(self, _node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def _fsync(self, _node: int, body: bytes) -> bytes:
        os.fsync(struct.unpack_from("<Q", body)[0])
        return b""

    _fsyncdir = _fsync

    def _flush(self, _node: int, _body: bytes) -> bytes:
        return b""

    def _fallocate(self, _node: int, body: bytes) -> bytes:
        fh, offset, length, mode = struct.unpack_from("<QQQI", body)
        if mode:
            raise OSError(errno.EOPNOTSUPP, "mode")
        os.posix_fallocate(fh, offset, length)
        return b""

    def _opendir(self, node: int, _body: bytes) -> bytes:
        return struct.pack("<QII", os.open(self._real(node), os.O_RDONLY | os.O_DIRECTORY), 0, 0)

    _releasedir = _release

    def _readdir(self, node: int, body: bytes) -> bytes:
        _fh, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        names = [".", "..", *sorted(os.listdir(self._real(node)))]
        for index, name in list(enumerate(names))[offset:]:
            raw = name.encode()
            entry = struct.pack("<QQII", 1, index + 1, len(raw), 0) + raw
            entry += b"\0" * (-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    def _statfs(self, _node: int, _body: bytes) -> bytes:
        st = os.statvfs(self._backing)
        return struct.pack("<5Q10I", st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree,
                           st.f_bsize, st.f_namemax, st.f_frsize, *[0] * 7)  # fmt: skip


def serve(fd: int, fs: Passthrough) -> None:
    """Answer requests until the file system is unmounted; one of several threads."""
    while True:
        try:
            request = os.read(fd, MAX_WRITE + 4096)
        except OSError as exc:
            if exc.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                continue
            return  # ENODEV: unmounted
        _, opcode, unique, node, *_ = IN.unpack_from(request)
        op = OPS.get(opcode, "")
        code, body = 0, b""
        if op in SILENT:
            continue
        try:
            if not op:
                raise OSError(errno.ENOSYS, "no such operation here")
            body = b"" if op == "destroy" else fs.handle(op, node, request[IN.size :])
        except OSError as exc:
            code, body = -(exc.errno or errno.EIO), b""
        try:
            os.write(fd, OUT.pack(OUT.size + len(body), code, unique) + body)
        except OSError:
            continue  # the request was interrupted, or all is over


def main(backing: str, mount: str, rules: str) -> None:
    """Mount, and serve until unmounted."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if LIBC.mount(b"oca-test", mount.encode(), b"fuse", MS_NOSUID_NODEV, options):
        raise OSError(ctypes.get_errno(), f"mount {mount}")
    fs = Passthrough(Path(backing), Rules(Path(rules)))
    threads = [threading.Thread(target=serve, args=(fd, fs), daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    for thread in threads:
        thread.join()


@dataclass
class Mounted:
    """A mounted one. What is changed in `backing` directly is changed under the file system."""

    path: Path
    backing: Path
    rules: Path
    process: subprocess.Popen[bytes]

    def fail(self, *rules: dict[str, Any]) -> None:
        """From now on exactly these rules hold; the keys are Rule's."""
        fresh = self.rules.with_suffix(".new")
        fresh.write_text(json.dumps(rules))
        fresh.rename(self.rules)

    def heal(self) -> None:
        """No rules."""
        self.fail()

    def vanish(self) -> None:
        """The disk is pulled: every call fails from now on (ENOTCONN)."""
        self.process.kill()
        self.process.wait()


def why_not() -> str:
    """What is missing for it here; "" for nothing."""
    if os.geteuid():
        return "mounting needs root"
    return "" if os.access("/dev/fuse", os.R_OK | os.W_OK) else "there is no /dev/fuse"


def unmount(path: Path) -> None:
    """Take a mount away, also one in use or one that hangs."""
    LIBC.umount2(os.fsencode(path), MNT_DETACH)


@contextmanager
def mounted(folder: Path, name: str = "disk") -> Iterator[Mounted]:
    """A file system that fails on command, below `folder`; unmounted at the end."""
    path, backing = folder / name, folder / f".{name}.backing"
    rules = folder / f".{name}.rules.json"
    for place in (path, backing):
        place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.faults.fuse_fs", str(backing), str(path), str(rules)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield Mounted(path, backing, rules, process)
    finally:
        rules.unlink(missing_ok=True)  # what hangs goes on
        unmount(path)
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
