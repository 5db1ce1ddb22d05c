"""Tell the workers who may be served: `run/peers.json`, then the generation word."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from oca.counters import Generation
from oca.state import PEERS_FILE, Peers, read_peers
from wire.codec import encode
from wire.durable import write_durably
from wire.errors import WireError
from wire.reports import Route, route_fault


class Workers:
    """The agent's side of what it shares with the workers. Calls block, shortly, in any thread."""

    def __init__(self, run_dir: Path, site: str) -> None:
        """Go on from what an earlier life told them."""
        self._path = run_dir / PEERS_FILE
        self._word = Generation(run_dir)
        self._lock = threading.Lock()
        self._told = msgspec.structs.replace(self._read(), site=site or None)

    def forget(self) -> None:
        """Make every worker forget what it cached of the store: something left it."""
        with self._lock:
            self._word.raise_word()

    def tell_peers(self, peers: Mapping[str, str]) -> None:
        """These appliances may fetch from this one: id → public key."""
        with self._lock:
            self._tell(msgspec.structs.replace(self._told, peers=dict(peers)))

    def tell_prefixes(self, prefixes: tuple[str, ...]) -> None:
        """Clients inside these prefixes may be served, less those that steering drops as well: a
        default route lets nobody in, and one that is no prefix keeps nobody out."""
        kept = tuple(prefix for prefix in prefixes if not route_fault(Route(prefix=prefix), ()))
        with self._lock:
            self._tell(msgspec.structs.replace(self._told, prefixes=kept))

    def _tell(self, peers: Peers) -> None:
        if peers != self._told or not self._path.exists():
            write_durably(self._path, encode(peers))
            self._told = peers
            self._word.raise_word()

    def _read(self) -> Peers:
        try:
            return read_peers(self._path.read_bytes())
        except (OSError, WireError):
            return Peers()
