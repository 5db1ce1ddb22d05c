"""Functions and files stay small, and every public thing says what it is for."""

from __future__ import annotations

import ast
import statistics
from functools import cache

from tests.house.tree import PACKAGES, FunctionNode, Module
from tests.house.tree import modules as modules_of

FUNCTION_LINES_MAX = 60
FUNCTION_LINES_P90 = 30
FILE_LINES_MAX = 500
FILE_LINES_P90 = 400


@cache
def modules() -> list[Module]:
    """What is held to the rules of shape: the packages, and the demo and benchmarks as well."""
    return modules_of(packages=(*PACKAGES, "deploy", "benchmarks"))


def function_lines(node: FunctionNode) -> int:
    """Lines of a function without its docstring."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and first.end_lineno is not None:
        total -= first.end_lineno - first.lineno + 1
    return total


def test_functions_are_short() -> None:
    """None over 60 lines, nine in ten within 30."""
    sizes = {
        f"{module.path}:{node.lineno} {node.name}": function_lines(node)
        for module in modules()
        for node in module.functions()
    }
    long = {where: size for where, size in sizes.items() if size > FUNCTION_LINES_MAX}
    assert not long
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= FUNCTION_LINES_P90


def test_files_are_short() -> None:
    """None over 500 lines, nine in ten within 400."""
    sizes = {str(module.path): module.lines for module in modules()}
    long = {where: size for where, size in sizes.items() if size > FILE_LINES_MAX}
    assert not long
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= FILE_LINES_P90


def test_every_module_opens_with_its_rule() -> None:
    """The first line of a module is a sentence that says what it is for."""
    silent = [str(m.path) for m in modules() if not (ast.get_docstring(m.tree) or "").strip()]
    assert not silent


def undocumented(module: Module) -> list[str]:
    """Public things without a docstring, or that raise without saying so."""
    faults = []
    for node in module.public():
        where = f"{module.path}:{node.lineno} {node.name}"
        text = ast.get_docstring(node) or ""
        if not text:
            faults.append(f"{where}: no docstring")
        elif module.name.endswith(".cli"):
            continue  # the docstring is the command's --help, written for operators
        elif not isinstance(node, ast.ClassDef) and _raises(node) and not _says_so(text):
            faults.append(f"{where}: raises, and its docstring does not say so")
    return faults


def _says_so(text: str) -> bool:
    return any(word in text.lower() for word in ("raise", "refuse"))


def _raises(node: FunctionNode) -> bool:
    """Whether the function itself raises something new (re-raising does not count)."""
    return any(
        isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call) for inner in ast.walk(node)
    )


def test_every_public_thing_says_what_it_is_and_what_it_raises() -> None:
    """Public docstrings give purpose and errors."""
    faults = [fault for module in modules() for fault in undocumented(module)]
    assert not faults, "\n".join(faults)
