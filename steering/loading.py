"""A configuration read whole, with every file that it names, and checked. An adapter: it reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from steering.config import Config
from steering.fleetcache import read_cached
from steering.forwarded import Network, parse_proxies
from steering.policy import check as check_policy
from wire.durable import why_not_writable
from wire.errors import WireError
from wire.fleet import Fleet
from wire.keys import SigningKey, parse_private_key
from wire.knobs import read_config
from wire.listen import refuse_clash
from wire.web import listen_address


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with every file it names, read and checked."""

    path: Path
    config: Config
    fleet: Fleet
    fleet_text: str
    key: SigningKey
    proxies: tuple[Network, ...]
    state: Path

    @property
    def network_files(self) -> dict[str, Path | None]:
        """The operator's tables of networks, by kind."""
        config, folder = self.config, self.path.parent
        named = {"asn": config.asn_table, "place": config.place_table}
        return {kind: folder / name if name else None for kind, name in named.items()}


def load(path: Path) -> Loaded:
    """Read a configuration and what it names; raises WireError naming file and field."""
    config = read_config(Config, _bytes_of(path, "configuration"), str(path))
    fleet_file, key_file = path.parent / config.fleet, path.parent / config.tokens.key_file
    addresses = {
        name: listen_address(address, f"{path}: {name}")
        for name, address in (("listen", config.listen), ("admin", config.admin))
    }
    refuse_clash(addresses, str(path))
    check_policy(config.policy, str(path))
    for name, file in (("asn_table", config.asn_table), ("place_table", config.place_table)):
        if file and not (path.parent / file).is_file():
            raise WireError(str(path), name, f"there is no file {file}")
    why = why_not_writable(path.parent / config.state)
    if why is not None:
        raise WireError(str(path), "state", why)
    fleet = _bytes_of(fleet_file, "fleet")
    return Loaded(
        path=path,
        config=config,
        fleet=read_cached(fleet, str(fleet_file), path.parent / config.state),
        fleet_text=fleet.decode(),
        key=parse_private_key(
            _bytes_of(key_file, "tokens.key_file"), config.tokens.kid, str(key_file)
        ),
        proxies=parse_proxies(config.proxies, str(path)),
        state=path.parent / config.state,
    )


def _bytes_of(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise WireError(str(path), what, exc.strerror or "cannot be read") from exc
