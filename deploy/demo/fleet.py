"""Lay a run out on the disk: keys, fleet file, configurations, empty stores; nothing is kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.demo import layout
from deploy.demo.demand import demand_bytes, scaled
from wire.catalogue import Catalogue
from wire.keys import new_private_pem, parse_private_key, public_text

NIGHT_ONE = "night-1.toml"
NIGHT_TWO = "night-2.toml"
FORECAST = "forecast.csv"


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder, what there is, and the bytes expected by home site and asset."""

    folder: Path
    media: Path
    catalogue: Catalogue
    total_bytes: int
    forecast: Mapping[str, Mapping[int, float]]
    plan_key: str

    def config(self, name: str) -> str:
        """The path of a configuration file."""
        return str(self.folder / f"{name}.toml")


def lay_out(folder: Path, media: Path, catalogue: Catalogue, evening_bytes: int, day: str) -> Run:
    """Write everything that the processes need under `folder`, which is emptied first.

    `evening_bytes` is what the viewers of each ISP will ask for; `day` (ISO) dates the forecast.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "keys").mkdir(parents=True)
    total = sum(asset.bytes for asset in catalogue.assets)
    keys = _make_keys(folder)
    forecast = {
        isp.site: scaled(demand_bytes(catalogue, isp.site), evening_bytes) for isp in layout.ISPS
    }
    run = Run(folder, media, catalogue, total, forecast, keys.plan)
    _write_forecast(run, day)
    (folder / "fleet.toml").write_text(layout.fleet_file(keys.boxes, total))
    (folder / "steering.toml").write_text(layout.steering_config())
    for nights, name in enumerate((NIGHT_ONE, NIGHT_TWO), 1):
        text = layout.fill_config(str(media), keys.token, FORECAST, nights)
        (folder / name).write_text(text)
    for box in layout.SERVERS:
        store = str(media) if box.id == layout.ORIGIN.id else f"{box.id}/store"
        (folder / box.id).mkdir()
        if box.id != layout.ORIGIN.id:
            (folder / store).mkdir()
        (folder / f"{box.id}.toml").write_text(layout.oca_config(box, keys, total, store))
        (folder / f"{box.id}-routes.json").write_text(json.dumps(layout.routes_of(box)))
    return run


def _make_keys(folder: Path) -> layout.Keys:
    boxes = {box.id: _new_key(folder, box.id, "ed25519") for box in layout.SERVERS}
    return layout.Keys(
        token=_new_key(folder, "steering", "es256"),
        plan=_new_key(folder, "fill", "ed25519"),
        boxes=boxes,
    )


def _new_key(folder: Path, name: str, alg: str) -> str:
    """Write a private key that only its owner reads; returns the public half."""
    pem = new_private_pem(alg)
    path = folder / "keys" / f"{name}.pem"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
    return public_text(parse_private_key(pem, name, str(path)))


def _write_forecast(run: Run, day: str) -> None:
    rows = ["day,home,asset,bytes"]
    for home, demand in run.forecast.items():
        rows += [f"{day},{home},{asset},{round(size)}" for asset, size in sorted(demand.items())]
    (run.folder / FORECAST).write_text("\n".join(rows) + "\n")
