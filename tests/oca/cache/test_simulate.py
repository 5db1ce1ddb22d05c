"""`oca simulate` as a person or a script uses it: a real process, its output, its exit code."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from oca.cache.registry import DEFAULT, POLICIES

REPO = Path(__file__).resolve().parents[3]
FIELDS = ["policy", "bytes", "requests", "object_miss_ratio", "byte_miss_ratio"]


def simulate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "oca", "simulate", *map(str, arguments)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=60)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Four requests, of which LRU with 30 bytes hits one and FIFO with 30 bytes as well."""
    path = tmp_path / "requests.txt"
    path.write_text("0 a 10\n1 b 20\n2 a 10\n3 c 20\n4 b 20\n")
    return path


def test_one_json_line_per_size(trace: Path) -> None:
    """With exactly the promised fields, in the order of the sizes on the command line."""
    done = simulate(trace, "--policy", "lru", "--bytes", "30", "--bytes", "1KiB")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(line) for line in lines] == [FIELDS, FIELDS]
    assert lines[0] == {
        "policy": "lru",
        "bytes": 30,
        "requests": 5,
        "object_miss_ratio": 0.8,
        "byte_miss_ratio": 70 / 80,
    }
    assert lines[1]["bytes"] == 1024
    assert lines[1]["object_miss_ratio"] == 0.6
    assert (done.returncode, done.stderr) == (0, "")


def test_every_policy_can_be_named(trace: Path) -> None:
    """In the spelling of the papers too; the answer calls it what the question did."""
    names = [*POLICIES, "LRU", "LFUDA", "S3FIFO"]
    done = simulate(trace, "--bytes", "25", *(f"--policy={name}" for name in names))
    assert [json.loads(line)["policy"] for line in done.stdout.splitlines()] == names


def test_default_policy_and_chunks(trace: Path) -> None:
    """Without --policy the default is meant; chunks of 10 bytes leave the requests as many."""
    done = simulate(trace, "--bytes", "1000", "--chunk-bytes", "10")
    line = json.loads(done.stdout)
    assert (line["policy"], line["requests"], line["object_miss_ratio"]) == (DEFAULT, 5, 0.6)


def test_second_request_is_said_in_the_name(trace: Path) -> None:
    """Only what is asked for again is stored: the third request for b would be the first hit."""
    done = simulate(trace, "--policy", "lru", "--bytes", "100", "--second-request")
    line = json.loads(done.stdout)
    assert (line["policy"], line["object_miss_ratio"]) == ("lru+second-request", 1.0)


def test_all_is_a_table_of_every_policy(trace: Path) -> None:
    """A row per policy, a column per size."""
    done = simulate(trace, "--policy", "all", "--bytes", "25", "--bytes", "1MiB")
    assert done.returncode == 0
    for word in (*POLICIES, "25 B", "1 MiB"):
        assert word in done.stdout


def test_binary_trace_is_known_by_its_name(tmp_path: Path) -> None:
    """libCacheSim's 24 bytes a request."""
    path = tmp_path / "t.oracleGeneral.bin"
    path.write_bytes(b"".join(struct.pack("<IQIq", at, at % 2, 512, -1) for at in range(8)))
    line = json.loads(simulate(path, "--policy", "fifo", "--bytes", "1k").stdout)
    assert (line["requests"], line["object_miss_ratio"]) == (8, 0.25)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0 a 10\n1 b\n", "row 2: 2 fields in place of 3: '1 b'"),
        ("0 a 10\n1 b many\n", "row 2, bytes: 'many' is no size in bytes"),
        ("", "holds no requests"),
    ],
)
def test_malformed_trace_is_one_clear_line(tmp_path: Path, text: str, fault: str) -> None:
    """File, row and field; exit code 1, no traceback, nothing on stdout."""
    path = tmp_path / "bad.txt"
    path.write_text(text)
    done = simulate(path, "--bytes", "100")
    assert done.stderr.startswith(f"oca: bad.txt: {fault}")
    assert len(done.stderr.splitlines()) == 1
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--bytes", "ten"], "'ten' is no size"),
        (["--bytes", "0"], "holds nothing"),
        (["--bytes", "10", "--policy", "belady"], "'belady' is none of adaptive, arc"),
        ([], "Missing option '--bytes'"),
    ],
)
def test_wrong_options_are_told(trace: Path, arguments: list[str], fault: str) -> None:
    """With what would have been right."""
    done = simulate(trace, *arguments)
    assert fault in done.stderr
    assert done.returncode == 2


def test_a_pipe_is_a_trace(trace: Path) -> None:
    """What is packed, or made on the way, need not be written down first."""
    command = [sys.executable, "-m", "oca", "simulate", "/dev/stdin", "--bytes", "1k"]
    with trace.open("rb") as text:
        cat = subprocess.Popen(["cat"], stdin=text, stdout=subprocess.PIPE)
        done = subprocess.run(
            command, cwd=REPO, stdin=cat.stdout, capture_output=True, text=True, timeout=60
        )
        assert cat.wait() == 0
    assert (done.returncode, json.loads(done.stdout)["requests"]) == (0, 5), done.stderr


def test_packed_trace_is_told_to_be_unpacked(tmp_path: Path) -> None:
    """libCacheSim's traces are published as .zst."""
    path = tmp_path / "t.oracleGeneral.zst"
    path.write_bytes(b"(\xb5/\xfd")
    assert "is compressed (unpack it first)" in simulate(path, "--bytes", "10").stderr
