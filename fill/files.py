"""Where fill's files are, and how each is read: configuration, fleet, catalogue, key, state."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fill.catalogue import Snapshot, read_catalogue
from fill.config import FillConfig
from fill.inventory import Stored
from wire.codec import decode
from wire.errors import AuthError, WireError
from wire.fleet import Fleet, read_fleet
from wire.ids import ORIGIN_ID
from wire.keys import SigningKey, VerifyKey, parse_private_key, parse_verify_key
from wire.knobs import read_config
from wire.plan import PurgeList, open_purge


@dataclass(frozen=True, slots=True)
class Files:
    """A configuration and the folder that its relative paths start from."""

    config: FillConfig
    base: Path

    @property
    def catalogue(self) -> Path:
        """The catalogue's path."""
        return self.base / self.config.catalogue

    @property
    def fleet(self) -> Path:
        """The fleet file's path."""
        return self.base / self.config.fleet

    @property
    def state(self) -> Path:
        """The folder of fill's own data."""
        return self.base / self.config.state

    @property
    def history(self) -> Path:
        """The history database's path."""
        return self.state / "history.sqlite"

    @property
    def purge(self) -> Path:
        """The signed purge list's path."""
        return self.state / "purge.jws"

    def inventory(self, appliance: str) -> Path:
        """Where the last inventory of one appliance is kept."""
        return self.state / "inventories" / f"{appliance}.json"

    def read_fleet(self) -> Fleet:
        """The fleet; raises WireError, also for a box that has nowhere to put anything."""
        fleet = read_fleet(read_bytes(self.fleet), str(self.fleet))
        for index, box in enumerate(fleet.appliances):
            if box.id != ORIGIN_ID and not box.disk_bytes:
                where = f"appliance[{index}].disks_bytes"
                raise WireError(str(self.fleet), where, f"{box.id} has no disk")
        return fleet

    def read_catalogue(self) -> Snapshot:
        """The catalogue; raises WireError, also for an asset that has nothing in it."""
        what = str(self.catalogue)
        snapshot = read_catalogue(read_bytes(self.catalogue), what)
        for index, entry in enumerate(snapshot.entries.values()):
            if not entry.asset.bytes:
                asset = entry.asset
                detail = f"asset {asset.id} ({asset.title}/{asset.name}) has 0 bytes"
                raise WireError(what, f"assets[{index}].files", detail, hint="encode it again")
        return snapshot

    def signing_key(self) -> SigningKey:
        """The key that signs plans; raises WireError."""
        path = self.base / self.config.signing_key
        return parse_private_key(read_bytes(path), self.config.kid, str(path))

    def own_keys(self) -> dict[str, VerifyKey]:
        """The keys that open what fill itself signed, by kid; raises WireError."""
        key = self.signing_key()
        former = {
            kid: parse_verify_key(text, f"former_keys.{kid}")
            for kid, text in self.config.former_keys.items()
        }
        return {**former, key.kid: VerifyKey(key.alg, key.key)}

    def steering_keys(self) -> dict[str, VerifyKey]:
        """The keys of steering replicas, by id; raises WireError naming the bad one."""
        return {
            name: parse_verify_key(text, f"steering_keys.{name}")
            for name, text in self.config.steering_keys.items()
        }

    def read_inventory(self, appliance: str) -> Stored | None:
        """The last inventory of an appliance, if there was one; raises WireError."""
        path = self.inventory(appliance)
        if not path.exists():
            return None
        return decode(Stored, path.read_bytes(), str(path))

    def read_purge(self, epoch: str) -> PurgeList:
        """The purge list of this world (empty, number 0, before any purge); raises WireError."""
        if self.purge.exists():
            try:
                purge = open_purge(self.purge.read_bytes(), self.own_keys())
            except AuthError as exc:
                hint = "is its public half in former_keys?"
                raise WireError(str(self.purge), "", str(exc), hint=hint) from exc
            if purge.epoch == epoch:
                return purge
        return PurgeList(epoch=epoch, number=0, assets=())


def read_files(path: Path) -> Files:
    """Read a configuration file of fill; raises WireError with the field at fault."""
    config = read_config(FillConfig, read_bytes(path), str(path))
    if config.listen == config.admin_listen:
        raise WireError(str(path), "admin_listen", "it is the same as listen")
    return Files(config, path.resolve().parent)


def read_bytes(path: Path) -> bytes:
    """The bytes of an operator's file; raises WireError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise WireError(str(path), "", f"cannot be read: {exc.strerror}") from exc


def digest_of(path: Path) -> str:
    """SHA-256 (hex) of a file, for the record of what a generation was made from."""
    return hashlib.sha256(read_bytes(path)).hexdigest()
