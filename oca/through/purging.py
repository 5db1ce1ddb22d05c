"""Tell a running fetcher to forget objects: an operator's `oca purge`, the agent's urgent purge.

An adapter (a Unix socket). It answers when they are gone: no later request is served from them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from oca.through.messages import BATCH_MAX, DOOR, Purge, Purged, heard_by_worker, pack
from wire.errors import UnavailableError

ANSWER_S = 5.0
KEYS_BYTES_MAX = 40_000  # of one message


def purge(run_dir: Path, keys: Sequence[str], *, below: bool = False) -> int:
    """How many objects were there and are forgotten. Blocks.

    `below`: all whose keys begin so. Raises UnavailableError when no fetcher answers.
    """
    count = 0
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(ANSWER_S)
            place = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:  # by descriptor, for a socket's path has at most 107 bytes
                sock.connect(f"/proc/self/fd/{place}/{DOOR}")
            finally:
                os.close(place)
            for some in batches(keys):
                sock.send(pack(Purge(some, below)))
                while not isinstance(told := heard_by_worker(sock.recv(2**16)), Purged):
                    pass  # what workers are told as well
                count += told.count
    except (OSError, msgspec.DecodeError) as exc:
        raise UnavailableError(f"no fetcher answers at {run_dir}: {exc}") from exc
    return count


def batches(keys: Sequence[str]) -> Iterator[list[str]]:
    """Keys in messages that are not too long."""
    some: list[str] = []
    for key in keys:
        if some and (len(some) >= BATCH_MAX or sum(map(len, some)) + len(key) > KEYS_BYTES_MAX):
            yield some
            some = []
        some.append(key)
    if some:
        yield some


def purge_assets(run_dir: Path, assets: Iterable[int]) -> int:
    """All that is kept of these assets, as `purge`."""
    return purge(run_dir, [f"/a/{asset}/" for asset in assets], below=True)
