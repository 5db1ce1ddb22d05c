"""What people type, run in this process: an interpreter takes half a second to start."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

import fill.cli
import oca.cli
import steering.cli

MAINS: dict[str, Callable[[], object]] = {
    "oca": oca.cli.main,
    "steering": steering.cli.main,
    "fill": fill.cli.main,
}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def typed(program: str, *args: object) -> Done:
    """`PROGRAM ARGS`, as its console script runs it."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = [program, *map(str, args)]
    with mock.patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            MAINS[program]()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(code, out.getvalue(), err.getvalue())
