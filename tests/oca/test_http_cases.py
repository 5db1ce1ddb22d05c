"""The independent judge of byte-range servers, replayed against `oca serve --root`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.oca.running import serving

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("OCA_SHARED", REPO.parent / "shared"))
RUNNER = SHARED / "http_cases" / "run.py"
SIZE = 1_000_003


@pytest.mark.skipif(not RUNNER.exists(), reason=f"the cases are not here: {RUNNER}")
def test_no_case_of_the_independent_judge_fails(tmp_path: Path) -> None:
    """No FAIL at level must, at most one below it."""
    folder = tmp_path / "www" / "seg"
    folder.mkdir(parents=True)
    (folder / "empty.bin").write_bytes(b"")
    make = ["--make-file", str(folder / "case.bin"), "--file-size", str(SIZE), "--seed", "1"]
    subprocess.run([sys.executable, str(RUNNER), *make], check=True, capture_output=True)
    long_ago_s = time.time() - 3600  # a date is a strong validator only some time later
    os.utime(folder / "case.bin", (long_ago_s, long_ago_s))
    out = tmp_path / "out.json"
    with serving(
        tmp_path, "--root", str(tmp_path / "www"), "--listen", "127.0.0.1:0", "--workers", "1"
    ) as oca:
        where = ["--host", "127.0.0.1", "--port", str(oca.port), "--root-url", "/seg"]
        args = [*where, "--file-size", str(SIZE), "--seed", "1", "-q", "--json", str(out)]
        subprocess.run([sys.executable, str(RUNNER), *args], check=False, capture_output=True)
    results = json.loads(out.read_text())
    cases = results["results"] if isinstance(results, dict) else results
    failed = [(c["level"], c["id"], c["why"]) for c in cases if c["result"] == "FAIL"]
    assert len(cases) > 100
    assert not [f for f in failed if f[0] == "must"]
    assert len(failed) <= 1, failed
