"""The one line `oca serve --store … --upstream …`: its settings as a file for the children.

An adapter (files).
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import msgspec

from oca.through.knobs import Through
from oca.through.upstream import base_of
from wire.errors import WireError
from wire.knobs import config_of

FILE = "through.json"


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
    path.write_bytes(msgspec.json.encode({"store": str(store.absolute()), "knobs": asdict(knobs)}))
    return ["--through", str(path)]


def prepared(path: str) -> tuple[Through, Path]:
    """What `prepare` wrote: settings and the store's folder."""
    tree = msgspec.json.decode(Path(path).read_bytes())
    return config_of(Through, tree["knobs"], path), Path(tree["store"])
