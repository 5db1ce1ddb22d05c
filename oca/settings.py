"""What the crew runs by: read and checked whole before anything changes, and kept as accepted.

Workers are given the accepted copy in the run folder and not the operator's file, so that one which
dies while that is being edited comes back as it was.
"""

from __future__ import annotations

from pathlib import Path

from oca.agent.parts import own_key, plan_keys
from oca.config import Config, Timeouts, read
from oca.tokens import read_token_file
from wire.durable import write_durably
from wire.errors import WireError

ACCEPTED_FILE = "accepted.toml"
FIXED = ("id", "store", "disks", "run", "listen", "admin", "workers")
"""Sockets, folders and places are made once; another one needs a restart."""


def checked(raw: bytes, what: str) -> Config:
    """The configuration `raw` of file `what`, once the keys it names are read as well.

    Raises WireError naming file and field.
    """
    config = read(raw, what)
    if config.agent.key_file:
        own_key(config)
        plan_keys(config)
    return config


class FolderSettings:
    """`oca serve --root`: a reload takes up the file of token keys, if there is one."""

    drain_s = Timeouts().drain_s

    def __init__(self, run_dir: Path, token_keys: Path | None = None) -> None:
        """Read and check the keys; nothing is written before `keep`. Raises WireError."""
        self._path, self._accepted = token_keys, run_dir / ACCEPTED_FILE
        self._raw = self._before = b"" if token_keys is None else _checked_keys(token_keys)

    @property
    def args(self) -> list[str]:
        """What tells a worker to read the accepted copy."""
        return [] if self._path is None else ["--token-keys", str(self._accepted)]

    def keep(self) -> None:
        """Write the accepted copy; readable by us alone."""
        if self._path is not None:
            write_durably(self._accepted, self._raw, 0o600)

    def renew(self) -> None:
        """Accept the operator's file as it is now; raises WireError when it cannot be used."""
        if self._path is not None:
            fresh = _checked_keys(self._path)
            self._before, self._raw = self._raw, fresh
            self.keep()

    def revert(self) -> None:
        """Back to the copy before."""
        self._raw = self._before
        self.keep()


def _checked_keys(path: Path) -> bytes:
    raw = path.read_bytes()
    read_token_file(raw, str(path))
    return raw


class FileSettings:
    """`oca serve --config`: the operator's file, and the copy of it that is in force."""

    def __init__(self, path: Path) -> None:
        """Read and check; nothing is written before `keep`. Raises WireError as `checked` does."""
        self._path = path
        self._raw = path.read_bytes()
        self.config = checked(self._raw, str(path))
        self._before = (self._raw, self.config)

    @property
    def drain_s(self) -> float:
        """How long workers may take to finish."""
        return self.config.timeouts.drain_s

    @property
    def args(self) -> list[str]:
        """What tells a child to read the accepted copy, in the name of the operator's file."""
        return ["--config", str(self._accepted), "--as", str(self._path)]

    @property
    def _accepted(self) -> Path:
        return Path(self.config.run) / ACCEPTED_FILE

    def keep(self) -> None:
        """Write the accepted copy; readable by us alone, for it may hold stand-alone keys."""
        write_durably(self._accepted, self._raw, 0o600)

    def renew(self) -> None:
        """Accept the operator's file as it is now; raises WireError when it cannot be used."""
        raw = self._path.read_bytes()
        config = checked(raw, str(self._path))
        for name in FIXED:
            if getattr(config, name) != getattr(self.config, name):
                hint = "systemctl restart oca"
                raise WireError(str(self._path), name, "changing it needs a restart", hint=hint)
        self._before = (self._raw, self.config)
        self._raw, self.config = raw, config
        self.keep()

    def revert(self) -> None:
        """Back to the copy before."""
        self._raw, self.config = self._before
        self.keep()
