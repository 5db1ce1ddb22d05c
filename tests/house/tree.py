"""The project's source as the house rules see it: modules, their imports, functions, docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("oca", "steering", "fill")
PACKAGES = ("wire", *SERVICES)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: its dotted name, path and syntax tree."""

    name: str
    path: Path
    root: Path = ROOT

    @property
    def service(self) -> str:
        return self.name.partition(".")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(), str(self.path))

    @property
    def lines(self) -> int:
        return len(self.path.read_text().splitlines())

    def imports(self) -> Iterator[tuple[str, int]]:
        """Every imported dotted name with its line, wherever in the file it stands."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = self.name.split(".")
                    is_package = self.path.name == "__init__.py"
                    keep = len(parts) - node.level + (1 if is_package else 0)
                    base = ".".join([*parts[:keep], base]).rstrip(".")
                for alias in node.names:
                    yield f"{base}.{alias.name}", node.lineno

    def functions(self) -> Iterator[FunctionNode]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def public(self) -> Iterator[ast.ClassDef | FunctionNode]:
        """Public classes, functions and methods (no leading underscore anywhere on the way)."""
        yield from _public(self.tree)


def _public(parent: ast.Module | ast.ClassDef) -> Iterator[ast.ClassDef | FunctionNode]:
    for node in parent.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node
            yield from _public(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith(
            "_"
        ):
            yield node


def modules(root: Path = ROOT, packages: tuple[str, ...] = PACKAGES) -> list[Module]:
    """Every module of these packages below `root`."""
    found = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
            found.append(Module(".".join(parts), path, root))
    return found


def adapters() -> frozenset[str]:
    """The dotted names in adapters.txt."""
    text = (Path(__file__).parent / "adapters.txt").read_text()
    names = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(name for name in names if name)


def is_adapter(name: str, listed: frozenset[str]) -> bool:
    """Whether a module, or a package around it, is listed as an adapter."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in listed for end in range(1, len(parts) + 1))
