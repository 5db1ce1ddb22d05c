"""What the demo writes is what the services read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.demo import layout
from deploy.demo.fleet import FORECAST, NIGHT_ONE, NIGHT_TWO, lay_out
from fill.config import FillConfig
from oca.config import read as read_oca
from steering.config import Config as SteeringConfig
from tests.demo.test_demand import catalogue
from wire.fleet import read_fleet
from wire.keys import parse_private_key
from wire.knobs import read_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run laid out."""
    run = lay_out(tmp_path / "run", tmp_path / "media", catalogue(), 10_000_000, "2026-01-31")
    return run.folder


def test_the_fleet_file_reads_and_every_key_is_the_box_s_own(folder: Path) -> None:
    """Three sites and the origin, five appliances, all on one port."""
    fleet = read_fleet((folder / "fleet.toml").read_bytes())
    assert {site.id: str(site.kind) for site in fleet.sites} == {
        "isp-a": "embedded",
        "isp-b": "embedded",
        "exchange": "ix",
        "origin": "origin",
    }
    assert len(fleet.appliances) == 6
    total = sum(asset.bytes for asset in catalogue().assets)
    for box in layout.BOXES:
        assert 0.4 <= fleet.appliance(box.id).disk_bytes / total <= 0.6


def test_every_configuration_is_accepted_by_its_service(folder: Path) -> None:
    """An unknown knob would be refused."""
    for box in layout.SERVERS:
        path = folder / f"{box.id}.toml"
        config = read_oca(path.read_bytes(), str(path))
        assert config.listen == f"{box.host}:{layout.PORT}"
        routes = json.loads((folder / f"{box.id}-routes.json").read_text())
        assert bool(routes) == (box.id != "origin")
    read_config(SteeringConfig, (folder / "steering.toml").read_bytes(), "steering.toml")
    for night in (NIGHT_ONE, NIGHT_TWO):
        read_config(FillConfig, (folder / night).read_bytes(), night)


def test_private_keys_are_for_their_owner_only(folder: Path) -> None:
    """Mode 0600, and each one reads."""
    for path in (folder / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
        parse_private_key(path.read_bytes(), path.stem, str(path))


def test_the_forecast_covers_both_isps(folder: Path) -> None:
    """Rows of day, home site, asset and bytes; each ISP asks for the evening's sum."""
    head, *rows = (folder / FORECAST).read_text().split()
    assert head == "day,home,asset,bytes"
    for isp in layout.ISPS:
        sums = [int(row.split(",")[3]) for row in rows if row.split(",")[1] == isp.site]
        assert abs(sum(sums) - 10_000_000) < 100
