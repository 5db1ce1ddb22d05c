"""Viewers who check every byte: they ask steering, fetch from whom it names, and compare hashes."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.e2e.lab import Lab, get
from wire.catalogue import Asset

PATIENCE_S = 2.0
PAUSE_S = 0.05  # viewers leave the two cores to those who are watched


@dataclass
class Audience:
    """A few threads of viewers; `wrong` lists every answer whose bytes were not the file's."""

    lab: Lab
    source: str
    viewers: int = 3
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        catalogue = self.lab.catalogue()
        self._assets = [asset for asset in catalogue.assets if asset.kind != "manifest"]
        self._contents: Mapping[str, bytes] = {
            file.sha256: path.read_bytes()
            for asset in self._assets
            for file in asset.files
            for path in [self.lab.media / "a" / str(asset.id) / file.name]
        }
        self._threads = [
            threading.Thread(target=self._watch, args=(seed,), daemon=True)
            for seed in range(self.viewers)
        ]

    def __enter__(self) -> Audience:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _watch(self, seed: int) -> None:
        rng = random.Random(seed)
        last: dict[int, list[str]] = {}
        while not self._stop.is_set():
            asset = rng.choice(self._assets)
            urls = self._ask(asset) or last.get(asset.id, [])
            last[asset.id] = urls
            if not any(self._fetch(url, asset, rng) for url in urls):
                self.seen["nobody"] += 1
            time.sleep(PAUSE_S)

    def _ask(self, asset: Asset) -> list[str]:
        url = f"http://{self.lab.steering}/v1/steer?asset={asset.id}"
        try:
            status, body = get(url, self.source, timeout_s=PATIENCE_S)
        except OSError:
            return []
        if status != 200:
            self.seen[f"steering {status}"] += 1
            return []
        answer = json.loads(body)
        urls: dict[str, str] = answer["assets"][0]["urls"]
        return [urls[place["pathway"]] for place in answer["places"] if place["pathway"] in urls]

    def _fetch(self, folder: str, asset: Asset, rng: random.Random) -> bool:
        """Whether the whole right file came; notes whatever came that is not the file."""
        file = rng.choice(asset.files)
        try:
            status, body, whole = fetch_what_comes(folder + file.name, self.source)
        except OSError:
            self.seen["cut"] += 1
            return False
        if status != 200:
            self.seen[f"box {status}"] += 1
            return False
        truth = self._contents[file.sha256]
        if body != truth[: len(body)] or (whole and len(body) != len(truth)):
            digest = hashlib.sha256(body).hexdigest()
            self.wrong.append(f"{folder}{file.name}: {len(body)} bytes, {digest}")
        self.seen["right" if whole else "cut"] += 1
        return whole


def fetch_what_comes(url: str, source: str) -> tuple[int, bytes, bool]:
    """Status, the bytes that came, and whether all came; OSError when nothing could be asked."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=PATIENCE_S, source_address=(source, 0)
    )
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        try:
            return response.status, response.read(), True
        except http.client.IncompleteRead as exc:
            return response.status, exc.partial, False
    except http.client.HTTPException as exc:
        raise OSError(repr(exc)) from exc
    finally:
        connection.close()
