"""What the fetcher and workers are given: the one line's settings as a file, the box's signature.

An adapter (files, clock).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import msgspec

from oca.agent.parts import own_key
from oca.config import Config
from oca.through.knobs import Through
from oca.through.upstream import base_of
from wire.auth import LIFE_S, bearer
from wire.errors import WireError
from wire.knobs import config_of

FILE = "through.json"
FOLDER = "through"


def prepare(
    run_dir: Path, store: Path, upstream: str, dynamic_bytes: int | None
) -> list[str]:  # fmt: skip
    """Write the settings; returns what tells a child. Raises WireError for unusable ones."""
    base_of(upstream)
    tree: dict[str, object] = {"policy": "fetch", "upstream": upstream}
    if dynamic_bytes is not None:
        tree["dynamic_bytes"] = dynamic_bytes
    knobs = config_of(Through, tree, "--upstream")
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise WireError("--store", "", f"{store}: {exc.strerror}") from exc
    path = run_dir / FILE
    folder = str(store.absolute() / FOLDER)
    path.write_bytes(msgspec.json.encode({"folder": folder, "knobs": asdict(knobs)}))
    return ["--through", str(path)]


def prepared(path: str) -> tuple[Through, str]:
    """What `prepare` wrote: settings and the region's folder."""
    tree = msgspec.json.decode(Path(path).read_bytes())
    return config_of(Through, tree["knobs"], path), tree["folder"]


def signer(config: Config) -> Callable[[], str] | None:
    """Signs requests to the upstream with the box's key, if it has one; raises WireError."""
    if not config.agent.key_file:
        return None
    key, audience = own_key(config), config.through.audience
    made: tuple[float, str] = (0.0, "")

    def sign() -> str:
        nonlocal made
        now_s = time.time()
        if now_s >= made[0]:
            made = (now_s + LIFE_S / 2, bearer(key, audience, now_s))
        return made[1]

    return sign
