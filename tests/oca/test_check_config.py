"""`oca check-config`: what would keep a box from serving, and what somebody should hear of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.typed import Done, typed

GOOD = 'id = "a"\nstore = "s"\nrun = "r"\nlisten = "127.0.0.1:8080"\nadmin = "127.0.0.1:9480"\n'


def check(folder: Path, text: str, *args: str) -> Done:
    path = folder / "box.toml"
    path.write_text(text)
    return typed("oca", "check-config", *(args or (path,)))


@pytest.mark.parametrize("service", ["oca", "steering", "fill"])
def test_every_service_takes_the_file_both_ways(tmp_path: Path, service: str) -> None:
    """`check-config FILE` and `check-config --config FILE` say the same."""
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    said = [typed(service, "check-config", *args) for args in ([path], ["--config", path])]
    assert said[0] == said[1]
    assert said[0].returncode == (0 if service == "oca" else 1)
    for args in ([], [path, "--config", path]):
        assert typed(service, "check-config", *args).returncode == 2


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD.replace("9480", "8080"), "admin"),
        (GOOD.replace("9480", "8080").replace('listen = "127.0.0.1', 'listen = "0.0.0.0'), "admin"),
        (GOOD.replace('run = "r"', 'run = "box.toml/r"'), "run"),
        (GOOD + '[agent]\nkey_file = "gone.pem"\n', "gone.pem"),
    ],
)
def test_what_would_fail_is_named(tmp_path: Path, text: str, named: str) -> None:
    """Ports that clash, a folder that cannot be made, a key that is not there: one line, exit 1."""
    bad = check(tmp_path, text)
    assert bad.returncode == 1
    assert named in bad.stderr and len(bad.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + '[agent]\nroutes_file = "gone.json"\n', "routes_file"),
        (GOOD.replace('store = "s"', 'store = "box.toml/s"'), "store"),
        (GOOD + '[access_log]\nfile = "box.toml/log"\n', "access_log.file"),
    ],
)
def test_what_is_doubtful_is_a_warning(tmp_path: Path, text: str, named: str) -> None:
    """No file of routes yet, a disk or a log that cannot be written: heard of, not in the way."""
    done = check(tmp_path, text, "-q", str(tmp_path / "box.toml"))
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ") and named in done.stderr
    assert not done.stdout
