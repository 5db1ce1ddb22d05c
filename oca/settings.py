"""What the crew runs by: read and checked whole before anything changes, and kept as accepted.

Workers are given the accepted copy in the run folder and not the operator's file, so that one which
dies while that is being edited comes back as it was.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from oca import tls
from oca.agent.parts import own_key, plan_keys
from oca.agent.routes import parse_routes
from oca.config import Config, Timeouts, read, split_address
from oca.tokens import read_token_file
from wire.durable import why_not_writable, write_durably
from wire.errors import WireError
from wire.listen import refuse_clash
from wire.log import get

ACCEPTED_FILE = "accepted.toml"
FIXED = ("id", "store", "disks", "run", "listen", "admin", "workers")
"""Sockets, folders and places are made once; another one needs a restart."""

_log = get("settings")


def checked(raw: bytes, what: str) -> Config:
    """The configuration `raw` of file `what`, once keys and certificates that it names were read.

    Raises WireError naming file and field.
    """
    config = read(raw, what)
    if config.agent.key_file:
        own_key(config)
        plan_keys(config)
    if config.tls.cert:
        tls.load(_files(config))
    addresses = {"listen": split_address(config.listen, "listen")}
    if config.admin:
        addresses["admin"] = split_address(config.admin, "admin")
    refuse_clash(addresses, what)
    why = why_not_writable(Path(config.run))
    if why is not None:
        raise WireError(what, "run", why)
    return config


def _files(config: Config) -> tls.Files:
    return tls.Files(config.tls.cert, config.tls.key, config.tls.names)


def doubts(config: Config, now: datetime.datetime) -> list[str]:
    """What does not keep a box from serving, but somebody should hear of: a line each. No disk of
    the store is looked at: one that hangs must not keep a box from starting."""
    found = tls.doubts(_files(config), now) if config.tls.cert else []
    if config.access_log.file:
        why = why_not_writable(Path(config.access_log.file).parent)
        found += [f"access_log.file: {why}"] if why else []
    if config.agent.routes_file:
        try:
            parse_routes(Path(config.agent.routes_file).read_bytes(), config.agent.routes_file)
        except (OSError, WireError) as exc:
            found.append(f"agent.routes_file: no client is inside without it: {exc}")
    return found


def disk_doubts(config: Config) -> list[str]:
    """The store's disks that cannot be written. May wait for a disk."""
    if config.role == "origin":
        return []
    faults = [why_not_writable(Path(path)) for path in config.disk_paths]
    return [f"store: {why}" for why in faults if why]


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
        self._tell_doubts()

    def _tell_doubts(self) -> None:
        for text in doubts(self.config, datetime.datetime.now(datetime.UTC)):
            _log.warning("check the configuration", why=text)

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
        self._tell_doubts()

    def revert(self) -> None:
        """Back to the copy before."""
        self._raw, self.config = self._before
        self.keep()
