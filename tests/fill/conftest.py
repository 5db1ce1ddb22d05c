"""What the tests of fill share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fill.ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """An empty installation: keys, fleet, configuration, no titles yet."""
    return Ground(tmp_path)
