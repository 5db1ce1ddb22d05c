"""What `fill serve` answers from: catalogue, fleet and plans as they are on the disk now."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from fill.catalogue import Snapshot
from fill.files import Files
from fill.generation import Summary
from fill.ledger import Ledger
from fill.watched import Watched
from wire.codec import encode
from wire.errors import NotFoundError
from wire.fleet import Fleet
from wire.keys import VerifyKey, unb64url
from wire.plan import sign_purge


@dataclass(frozen=True, slots=True)
class Titles:
    """The title index as it travels."""

    body: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Callers:
    """Who may speak: appliances by id, and steering replicas beside them."""

    fleet: Fleet
    appliances: Mapping[str, VerifyKey]
    readers: Mapping[str, VerifyKey]


@dataclass(frozen=True, slots=True)
class Document:
    """A signed document and the number that is its ETag."""

    body: bytes
    number: int


class _Numbered(msgspec.Struct):
    generation: int


class World:
    """The files of fill, each read again when it changes."""

    def __init__(self, files: Files) -> None:
        """Reads nothing yet."""
        self.files = files
        self.ledger = Ledger(files.state)
        self._catalogue = Watched(files.catalogue, self._read_catalogue)
        self._fleet = Watched(files.fleet, self._read_callers)
        self._summary = Watched(self.ledger.current_path, self._read_summary)
        self._plans: dict[str, Document] = {}
        self._plans_of = 0

    async def snapshot(self) -> Snapshot:
        """The catalogue; raises UnavailableError while there is none."""
        return (await self._catalogue.value())[0]

    async def titles(self) -> Titles:
        """The title index; raises UnavailableError while there is no catalogue."""
        return (await self._catalogue.value())[1]

    async def callers(self) -> Callers:
        """Who may speak to fill; raises UnavailableError without a fleet file."""
        return await self._fleet.value()

    async def summary(self) -> Summary | None:
        """The summary of the generation in force; None before the first."""
        if not self.ledger.current_path.exists():
            return None
        return await self._summary.value()

    async def plan(self, appliance: str) -> Document:
        """The signed plan of an appliance; raises NotFoundError when it has none."""
        summary = await self.summary()
        if summary is None:
            raise NotFoundError("no plan has been published yet: fill plan")
        if summary.generation != self._plans_of:
            self._plans, self._plans_of = {}, summary.generation
        if appliance not in self._plans:
            generation = summary.generation
            raw = await asyncio.to_thread(self.ledger.plan_bytes, generation, appliance)
            if raw is None:
                raise NotFoundError(f"generation {generation} has no plan for {appliance}")
            document = Document(raw, _generation_of(raw))
            if self._plans_of != generation:
                return document
            self._plans[appliance] = document
        return self._plans[appliance]

    async def purge(self) -> Document:
        """The signed purge list; an empty one, number 0, before the first purge."""
        snapshot = await self.snapshot()
        return await asyncio.to_thread(self._sign_purge, snapshot.epoch)

    def _sign_purge(self, epoch: str) -> Document:
        purge = self.files.read_purge(epoch)  # a former key may have signed it
        return Document(sign_purge(purge, self.files.signing_key()), purge.number)

    def _read_catalogue(self) -> tuple[Snapshot, Titles]:
        snapshot = self.files.read_catalogue()
        body = encode(snapshot.catalogue().titles())
        return snapshot, Titles(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')

    def _read_callers(self) -> Callers:
        fleet = self.files.read_fleet()
        keys = dict(fleet.public_keys())
        return Callers(fleet, keys, {**keys, **self.files.steering_keys()})

    def _read_summary(self) -> Summary:
        return self.ledger.summary(self.ledger.current())


def _generation_of(raw: bytes) -> int:
    """The generation inside a signed plan of our own (a canary's neighbours keep an older one)."""
    payload = unb64url(raw.split(b".")[1].decode(), "plan")
    return msgspec.json.decode(payload, type=_Numbered).generation
