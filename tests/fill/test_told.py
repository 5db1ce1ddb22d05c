"""Root does not leave files where the service could not write any more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fill.cli import main

CONFIG = 'catalogue = "c.json"\nfleet = "fleet.toml"\nstate = "state"\nsigning_key = "k.pem"\n'
NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone is refused")
def test_root_is_told_whose_state_it_is(tmp_path: Path) -> None:
    """The words name the user to be; the state stays as it was."""
    file = tmp_path / "fill.toml"
    file.write_text(CONFIG)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", NOBODY, NOBODY)
    done = CliRunner().invoke(main, ["diff", "--config", str(file)])
    assert done.exit_code == 2 and "sudo -u nobody fill" in done.output
    assert not list((tmp_path / "state").iterdir())
