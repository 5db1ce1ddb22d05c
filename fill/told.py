"""What all commands of `fill` share: how errors are told, where tables go, the --config option."""

from __future__ import annotations

import errno
import os
import pwd
import sys
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from fill.brakes import BrakesOn
from fill.files import read_files
from wire.errors import OcaError

F = TypeVar("F", bound=Callable[..., Any])
FAILED = 1
BRAKED = 3
WIDE = 140  # tables keep their columns where nobody has a terminal

out = Console(width=None if sys.stdout.isatty() else WIDE)
_err = Console(stderr=True, soft_wrap=True)


def _as_its_owner(_context: object, _option: object, path: Path) -> Path:
    """Refuse root where another user owns the state: what root leaves there stops the service."""
    try:
        state = read_files(path).state
        owner = state.stat().st_uid
        if os.geteuid() == 0 and owner:
            name = pwd.getpwuid(owner).pw_name
            raise click.UsageError(f"{state} is {name}'s: sudo -u {name} fill …")
    except (OcaError, OSError, KeyError):  # said by whoever needs it
        pass
    return path


config_option = click.option(
    "--config",
    "config",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_as_its_owner,
    help="fill's configuration (TOML); fill check-config shows what it says.",
)


def faults_told(function: F) -> F:
    """What raises an error tells it in one text on stderr and exits non-zero, no traceback."""

    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except OcaError as exc:
            _err.print(f"fill: {exc}", style="red", markup=False, highlight=False)
            braked = isinstance(exc, BrakesOn)
            raise SystemExit(BRAKED if braked else FAILED) from exc
        except OSError as exc:  # a full disk, or a folder that is not ours
            what = f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc)
            hint = " (run it as the user whose it is)" if exc.errno == errno.EACCES else ""
            _err.print(f"fill: {what}{hint}", style="red", markup=False, highlight=False)
            raise SystemExit(FAILED) from exc

    return update_wrapper(told, function)  # type: ignore[return-value]  # same signature
