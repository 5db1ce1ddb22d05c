"""What a person gets wrong is one line that says what and where, never a traceback."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

CLI = [sys.executable, "-c", "from oca.cli import main; main()"]


def said(*args: str) -> str:
    """The one line on stderr of a command that must fail."""
    done = subprocess.run([*CLI, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_key_for_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The file is named, with the system's reason."""
    file = tmp_path / "nowhere" / "box.pem"
    assert said("keygen", str(file)) == f"oca: {file}: No such file or directory"


def test_an_admin_port_that_somebody_has(tmp_path: Path) -> None:
    """Said by name, as for the public port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        line = said("serve", "--root", str(tmp_path), "--listen", "127.0.0.1:0", "--admin", at)
        assert line == f"oca: cannot listen on {at} (admin): Address already in use"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('id = "x"\nrun = "r"\nstore = "s"\nworkerz = 3', "workerz: there is no such setting"),
        ('id = "x"', "missing required field `run`"),
    ],
)
def test_a_setting_is_called_by_its_name(tmp_path: Path, text: str, where: str) -> None:
    """And not by a path in JSON."""
    file = tmp_path / "box.toml"
    file.write_text(text)
    assert said("check-config", str(file)).startswith(f"oca: {file}: {where}")


def test_a_key_that_found_no_room_is_not_there(tmp_path: Path) -> None:
    """The file is named, and the next try is not told that it exists."""
    file = tmp_path / "box.pem"
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " \
        "resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)); "  # fmt: skip
    command = [sys.executable, "-c", limited + CLI[2], "keygen", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stderr.strip() == f"oca: {file}: File too large"
    assert not file.exists()
