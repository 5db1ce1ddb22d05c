"""No service imports another, wire imports none, and what is not an adapter is pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import SERVICES, Module, adapters, is_adapter, modules

WORLD = {
    "aiofiles", "aiohttp", "asyncio", "concurrent", "ctypes", "fcntl", "http.client",
    "mmap", "multiprocessing", "os", "prometheus_client", "random", "resource", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uvloop",
}  # fmt: skip
WORLD_NAMES = {"pathlib.Path", "random.random"}
CLOCKS = {"now", "utcnow", "today"}


def foreign_imports(module: Module) -> list[str]:
    """Imports of another service, or of any service from wire."""
    others = set(SERVICES) - {module.service}
    return [
        f"{module.path}:{line}: {module.service} imports {name}"
        for name, line in module.imports()
        if name.partition(".")[0] in others
    ]


def worldly_imports(module: Module) -> list[str]:
    """Imports, in a pure module, of what touches the world."""
    found = []
    for name, line in module.imports():
        parts = name.split(".")
        prefixes = {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
        if prefixes & WORLD or name in WORLD_NAMES:
            found.append(f"{module.path}:{line}: pure module imports {name}")
    found.extend(
        f"{module.path}:{node.lineno}: pure module reads a clock (.{node.attr})"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS
    )
    return found


def test_no_service_imports_another() -> None:
    """Services meet only in HTTP bodies and events, both defined in wire."""
    faults = [fault for module in modules() for fault in foreign_imports(module)]
    assert not faults, "\n".join(faults)


def test_what_is_not_an_adapter_is_pure() -> None:
    """Time, randomness, files and sockets are arguments of the core, not imports."""
    listed = adapters()
    faults = [
        fault
        for module in modules()
        if not is_adapter(module.name, listed)
        for fault in worldly_imports(module)
    ]
    assert not faults, "\n".join(faults)


def test_pure_modules_do_not_import_adapters() -> None:
    """Imports point from the edges inward: cli → adapters → pure core → wire."""
    listed = adapters()
    faults = [
        f"{module.path}:{line}: pure module imports the adapter {name}"
        for module in modules()
        if not is_adapter(module.name, listed)
        for name, line in module.imports()
        if name.split(".")[0] in {"wire", *SERVICES} and is_adapter(name, listed)
    ]
    assert not faults, "\n".join(faults)


def test_every_listed_adapter_exists() -> None:
    """A name on the list that no module has is a rule nobody follows."""
    names = {module.name for module in modules()}
    assert not sorted(adapters() - names)


@pytest.mark.parametrize(
    "line", ["import steering", "from steering.rank import rank", "import fill.place as p"]
)
def test_the_border_rule_sees_a_crossing(tmp_path: Path, line: str) -> None:
    """The rule fails when oca imports steering (or fill): seen failing, every time."""
    (tmp_path / "oca").mkdir()
    (tmp_path / "oca" / "bad.py").write_text(f"def f():\n    {line}\n")
    (module,) = modules(tmp_path, ("oca",))
    assert foreign_imports(module)


@pytest.mark.parametrize(
    "line",
    ["import time", "from pathlib import Path", "import os.path", "x = datetime.now()"],
)
def test_the_purity_rule_sees_the_world(tmp_path: Path, line: str) -> None:
    """The rule fails on a clock, a file and the environment."""
    (tmp_path / "fill").mkdir()
    (tmp_path / "fill" / "bad.py").write_text(line + "\n")
    (module,) = modules(tmp_path, ("fill",))
    assert worldly_imports(module)


def test_a_worker_has_no_http_client() -> None:
    """aiohttp is the fetcher's and the agent's: 0.1 s of every worker's start, and its memory."""
    loaded = "import oca.cli, oca.worker, sys; sys.exit('aiohttp' in sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True)
