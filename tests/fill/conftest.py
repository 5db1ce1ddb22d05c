"""What the tests of fill share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fill.catalogue import Snapshot
from tests.fill.ground import Ground, kill


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """An empty installation: keys, fleet, configuration, no titles yet."""
    return Ground(tmp_path)


@pytest.fixture
def snapshot(ground: Ground) -> Snapshot:
    """A film and a dozen synthetic assets, with demand."""
    ground.add_film("film")
    made = ground.synthetic(12)
    ground.falling_demand(made)
    return made


@pytest.fixture
def service(ground: Ground, snapshot: Snapshot) -> Iterator[subprocess.Popen[bytes]]:
    """A running `fill serve`."""
    process = ground.serve()
    yield process
    kill(process)
