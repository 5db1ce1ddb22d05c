"""Read a folder of encodes from the disk: what is there, and the checksums of what is new."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import xxhash

from fill.media import suffix_of
from fill.titles import MANIFEST_SUFFIXES, Hashed, TitleFolder
from wire.catalogue import CHUNK_BYTES, FILES_MAX
from wire.errors import WireError

RESERVED = ("a", "incoming", "trash", "state", "run")
"""Folders of the tree that are no titles: the store of the appliance in front of it."""

READ_BYTES = 1024 * 1024
HASH_THREADS_MAX = 16  # hashing leaves the interpreter lock alone; disks like a few readers
_TITLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_NAME_HINT = "letters, digits, '.', '_' and '-' only"


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What an earlier scan found in a file; still true while size, time and inode are the same."""

    size_bytes: int
    modified_ns: int
    inode: int
    sha256: str
    chunks: Annotated[tuple[str, ...], "xxh3-128 per CHUNK_BYTES"]


@dataclass(frozen=True, slots=True)
class Scanned:
    """The tree as it lies there: titles, and each file's path below the tree."""

    titles: tuple[TitleFolder, ...]
    paths: tuple[str, ...]


def scan_tree(root: Path) -> Scanned:
    """List titles, renditions and files below `root`; raises WireError at what cannot be served.

    Hidden entries are left out, and so are files that belong to no rendition.
    """
    titles = []
    for entry in _listing(root):
        if entry.is_dir() and entry.name not in RESERVED:
            _check_name(_TITLE, root, entry, "a title's name")
            titles.append(_scan_title(Path(entry.path)))
    if not titles:
        hint = "make DIR/<title>/<rendition>/<files>"
        raise WireError(str(root), "", "there is no title in this folder", hint=hint)
    paths = [path for title in titles for path in _paths(title)]
    return Scanned(tuple(titles), tuple(paths))


def hash_files(
    root: Path, paths: tuple[str, ...], known: Mapping[str, Known], done: Callable[[int], None]
) -> dict[str, Known]:
    """The content of each path below `root`; `done(bytes)` is called as they are read or skipped.

    Raises WireError when a file changes while it is read.
    """
    result: dict[str, Known] = {}
    fresh: list[str] = []
    for path in paths:
        seen, stat = known.get(path), (root / path).stat()
        if seen and (seen.size_bytes, seen.modified_ns, seen.inode) == _identity(stat):
            result[path] = seen
            done(seen.size_bytes)
        else:
            fresh.append(path)
    threads = min(HASH_THREADS_MAX, (os.cpu_count() or 1) + 1)
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda path: _hash(root / path, done), fresh)
        result.update(zip(fresh, found, strict=True))
    return result


def hashed_of(title: TitleFolder, known: Mapping[str, Known]) -> dict[tuple[str, str], Hashed]:
    """The contents of one title's files, keyed (rendition or "", file)."""
    result = {}
    for path in _paths(title):
        rendition, _, file = path.removeprefix(f"{title.title}/").rpartition("/")
        found = known[path]
        modified_s = found.modified_ns // 10**9
        result[rendition, file] = Hashed(
            found.size_bytes, modified_s, found.sha256, tuple(found.chunks)
        )
    return result


def _paths(title: TitleFolder) -> Iterator[str]:
    for name in title.manifests:
        yield f"{title.title}/{name}"
    for rendition, sizes in title.renditions.items():
        for name in sizes:
            yield f"{title.title}/{rendition}/{name}"


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(visible, key=lambda entry: entry.name)


def _check_name(pattern: re.Pattern[str], folder: Path, entry: os.DirEntry[str], what: str) -> None:
    if pattern.fullmatch(entry.name) is None:
        detail = f"{entry.name!r} cannot be {what}"
        raise WireError(str(folder), "", detail, hint=_NAME_HINT)


def _scan_title(folder: Path) -> TitleFolder:
    manifests: dict[str, int] = {}
    renditions: dict[str, Mapping[str, int]] = {}
    texts: dict[str, bytes] = {}
    for entry in _listing(folder):
        if entry.is_dir():
            _check_name(_NAME, folder, entry, "a rendition's name")
            renditions[entry.name] = _scan_rendition(Path(entry.path))
            for name in renditions[entry.name]:
                if suffix_of(name) == ".m3u8":
                    texts[f"{entry.name}/{name}"] = Path(entry.path, name).read_bytes()
        elif suffix_of(entry.name) in MANIFEST_SUFFIXES:
            _check_name(_NAME, folder, entry, "a manifest's name")
            manifests[entry.name] = entry.stat().st_size
            texts[entry.name] = Path(entry.path).read_bytes()
    if not renditions:
        hint = "one folder per encode: <title>/<rendition>/<files>"
        raise WireError(str(folder), "", "this title has no rendition", hint=hint)
    return TitleFolder(folder.name, manifests, renditions, texts)


def _scan_rendition(folder: Path) -> Mapping[str, int]:
    sizes: dict[str, int] = {}
    for entry in _listing(folder):
        if entry.is_dir():
            hint = "files of an asset lie flat in its folder"
            raise WireError(str(folder), "", f"{entry.name!r} is a folder", hint=hint)
        _check_name(_NAME, folder, entry, "a file's name")
        sizes[entry.name] = entry.stat().st_size
    if not any(sizes.values()):
        raise WireError(str(folder), "", "this rendition has no bytes")
    if len(sizes) > FILES_MAX:
        detail = f"{len(sizes)} files are more than {FILES_MAX}"
        raise WireError(str(folder), "", detail, hint="split it into several assets")
    return sizes


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _hash(path: Path, done: Callable[[int], None]) -> Known:
    whole, chunk, chunks, in_chunk = hashlib.sha256(), xxhash.xxh3_128(), [], 0
    with path.open("rb", buffering=0) as file:
        before = _identity(os.fstat(file.fileno()))
        while data := file.read(min(READ_BYTES, CHUNK_BYTES - in_chunk)):
            whole.update(data)
            chunk.update(data)
            in_chunk += len(data)
            done(len(data))
            if in_chunk == CHUNK_BYTES:
                chunks.append(chunk.hexdigest())
                chunk, in_chunk = xxhash.xxh3_128(), 0
        if in_chunk:
            chunks.append(chunk.hexdigest())
        os.fsync(file.fileno())  # what is published must survive a power cut
        if _identity(os.fstat(file.fileno())) != before:
            raise WireError(str(path), "", "this file changed while it was read", hint="run again")
    return Known(*before, whole.hexdigest(), tuple(chunks))
