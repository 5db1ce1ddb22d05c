"""What the installer puts on a machine: units that systemd understands and that may do little."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import ROOT
from wire.keys import new_private_pem, parse_private_key, public_text

SERVICES = ("oca.service", "steering.service", "fill.service", "fill-plan.service")
UNITS = (*SERVICES, "oca.socket", "fill-plan.timer")
EXPOSURE_MAX = 1.5

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (apt-get install systemd)",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the installer makes, but for the programs: they are this venv's."""
    top = tmp_path_factory.mktemp("machine")
    prefix = top / "venv"
    subprocess.run(
        ["sh", str(ROOT / "deploy" / "install.sh")],
        env={"PATH": "/usr/bin:/bin", "DESTDIR": str(top), "PARTS": "units"},
        check=True,
        capture_output=True,
    )
    (prefix / "bin").mkdir(parents=True)
    for name in ("oca", "steering", "fill"):
        (prefix / "bin" / name).symlink_to(Path(sys.executable).parent / name)
    for unit in units(top).iterdir():
        if unit.is_file():
            unit.write_text(unit.read_text().replace("/opt/oca-cdn", str(prefix)))
    return top


def units(top: Path) -> Path:
    return top / "usr/local/lib/systemd/system"


@needs_systemd
def test_systemd_finds_nothing_wrong_with_any_unit(installed: Path) -> None:
    """`systemd-analyze verify` of all of them together, with their drop-ins: not a word."""
    paths = [str(units(installed) / name) for name in UNITS]
    got = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in got.stderr.splitlines() if any(name in line for name in UNITS)]
    assert not ours and got.returncode == 0, got.stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_little_exposed(installed: Path, name: str) -> None:
    """`systemd-analyze security --offline=yes`: at most 1.5 of 10."""
    got = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            "--no-pager",
            str(units(installed) / name),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", got.stdout)
    assert found is not None, got.stdout
    assert float(found[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root_or_without_a_check(name: str) -> None:
    """A user of its own, its configuration checked first, bounded memory and tasks."""
    text = (ROOT / "deploy" / "systemd" / name).read_text()
    for setting in ("User", "ExecStartPre", "MemoryMax", "TasksMax", "SystemCallFilter"):
        assert re.search(rf"^{setting}=\S", text, re.M), setting
    assert "check-config" in text
    assert name == "fill-plan.service" or re.search(r"^WatchdogSec=\d+$", text, re.M)


def test_an_operators_configuration_survives_the_next_install(installed: Path) -> None:
    """/etc is written once."""
    mine = installed / "etc" / "oca" / "appliance.toml"
    before = mine.read_text()
    mine.write_text("# mine\n")
    env = {"PATH": "/usr/bin:/bin", "DESTDIR": str(installed), "PARTS": "units"}
    subprocess.run(
        ["sh", str(ROOT / "deploy" / "install.sh")], env=env, check=True, capture_output=True
    )
    assert mine.read_text() == "# mine\n"
    mine.write_text(before)


def program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_the_sample_appliance_can_be_used_as_it_is(installed: Path) -> None:
    """`oca check-config` accepts it, without a word when asked to be quiet."""
    path = str(installed / "etc" / "oca" / "appliance.toml")
    command = [program("oca"), "check-config", "--quiet", path]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b""


def test_the_other_samples_need_only_keys(installed: Path, tmp_path: Path) -> None:
    """With keys in place and the public halves in the fleet file, steering's is accepted."""
    shutil.copytree(installed / "etc" / "steering", tmp_path, dirs_exist_ok=True)
    (tmp_path / "steering.pem").write_bytes(new_private_pem("es256"))
    fleet = tmp_path / "fleet.toml"
    public = public_text(parse_private_key(new_private_pem(), "box", "key"))
    fleet.write_text(fleet.read_text().replace("ed25519:…", public))
    command = [program("steering"), "check-config", "--config", str(tmp_path / "steering.toml")]
    got = subprocess.run(command, capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stderr
