"""slowhttptest: a thousand connections that do everything slowly, and others do not notice."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.oca.running import Oca, serving

CONNECTIONS = 1000
ATTACK_S = 6
ANSWER_S_MAX = 5.0  # on a machine that runs the attacker and other tests on the same two cores

ATTACKS = {
    "slow headers": ["-H", "-i", "2", "-x", "24"],
    "slow body": ["-B", "-i", "2", "-s", "8192", "-t", "POST"],
    "slow read": ["-X", "-w", "512", "-y", "1024", "-n", "3", "-z", "32", "-k", "3"],
    "range attack": ["-R", "-a", "5", "-b", "3000", "-t", "GET"],
}

pytestmark = [
    pytest.mark.skipif(
        shutil.which("slowhttptest") is None,
        reason="slowhttptest is not installed (apt-get install slowhttptest)",
    ),
    pytest.mark.skipif(
        resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4 * CONNECTIONS,
        reason="too few open files allowed for a thousand attackers",
    ),
]


def worst_answer_s(oca: Oca, attack: subprocess.Popen[str]) -> float:
    """Seconds of the slowest plain request while the attack runs."""
    worst = 0.0
    while attack.poll() is None:
        begin_s = time.monotonic()
        got = oca.get("/small")
        assert (got.status, len(got.body)) == (200, 4000)
        worst = max(worst, time.monotonic() - begin_s)
        time.sleep(0.1)
    return worst


@pytest.mark.parametrize("name", ATTACKS)
def test_the_service_stays_available_under(name: str, tmp_path: Path) -> None:
    """The tool's own verdict, and every other client is answered in time."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "small").write_bytes(b"s" * 4000)
    (folder / "big").write_bytes(b"b" * 5_000_000)
    args = ("--root", str(folder), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(tmp_path, *args) as oca:
        target = ["-u", f"http://127.0.0.1:{oca.port}/big", "-r", "500", "-p", "3"]
        load = ["-c", str(CONNECTIONS), "-l", str(ATTACK_S)]
        attack = subprocess.Popen(
            ["slowhttptest", *ATTACKS[name], *target, *load],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            worst_s = worst_answer_s(oca, attack)
            said, _ = attack.communicate(timeout=30)
        finally:
            attack.kill()
        plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
        assert re.search(r"service available:\s+YES", plain), plain[-2000:]
        assert worst_s < ANSWER_S_MAX
        assert "fault" not in oca.log.read_text()
