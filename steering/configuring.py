"""The configuration that runs: which generation, and how another one takes its place.

An adapter. Every change is whole: read, checked, compared, written down as a generation, and only
then taken up; whatever is wrong before leaves everything as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable

import msgspec

from steering.change import change, check_loss
from steering.generations import Generations
from steering.loading import Loaded, load
from steering.networks import Networks
from steering.policy import Policy, as_dict, policy_of
from wire.codec import encode
from wire.errors import NotFoundError, OcaError, UnavailableError
from wire.fleet import Fleet, read_fleet
from wire.generations import (
    ConfigChange,
    ConfigState,
    Draft,
    Generation,
    GenerationInfo,
)
from wire.knobs import knobs_of
from wire.log import get

_LIVE = ("policy.", "asn_table", "place_table", "fleet")
"""Settings that a reload takes up."""
TakeUp = Callable[[int, Fleet, Policy], Awaitable[None]]
"""(generation, fleet, policy): make them what answers follow."""
_log = get("config")


class Configuring:
    """What runs, and the one way to change it; changes wait for each other."""

    def __init__(self, loaded: Loaded, store: Generations) -> None:
        """Go on with the generation that ran last, unless the files changed since it was made."""
        self._path, self._loaded, self._store = loaded.path, loaded, store
        self._lock = asyncio.Lock()
        self.take_up: TakeUp | None = None
        self.networks: Networks | None = None
        source = _source(loaded)
        held = store.current()
        if held is not None and held.source == source and self._go_on(held):
            return
        self._became(self._next("start", loaded.fleet_text, loaded.config.policy, source))
        try:
            store.add(self.running)
        except OSError as exc:
            _log.error("the generation is not written down", why=str(exc))

    def _go_on(self, held: Generation) -> bool:
        try:
            self._became(held)
        except OcaError as exc:
            _log.warning("the last generation cannot be used", why=str(exc))
            return False
        return True

    def _became(self, generation: Generation) -> None:
        what = f"generation {generation.number}"
        fleet = read_fleet(generation.fleet.encode(), f"{what}: fleet")
        policy = policy_of(dict(generation.policy), what)
        self.running, self.fleet, self.policy = generation, fleet, policy

    def state(self) -> ConfigState:
        """Every generation that is kept, oldest first."""
        found = []
        for number in self._store.numbers():
            try:
                found.append(self._info(self._store.read(number)))
            except OcaError as exc:
                _log.warning("a generation cannot be read", number=number, why=str(exc))
        return ConfigState(running=self.running.number, generations=tuple(found))

    async def reload(self, *, by: str, dry_run: bool = False, force: bool = False) -> ConfigChange:
        """Take up the files as they are now, tables of networks among them; raises WireError
        naming file and field: one that is wrong keeps all of them from being taken up."""
        loaded = await asyncio.to_thread(load, self._path)
        policy = loaded.config.policy
        made = self._next(by, loaded.fleet_text, policy, _source(loaded))
        networks = self.networks
        fresh = await networks.fresh(loaded.network_files) if networks else {}
        found = await self._change(made, dry_run, force, self._restart(loaded))
        if networks and not dry_run:
            networks.swap(fresh)
        return msgspec.structs.replace(found, networks=tuple(fresh))

    async def publish(
        self, draft: Draft, *, by: str, dry_run: bool = False, force: bool = False
    ) -> ConfigChange:
        """Take up a draft; raises WireError naming what is wrong in it, ConflictError when it
        loses most of the fleet and is not forced."""
        fleet = self.running.fleet if draft.fleet is None else draft.fleet
        read_fleet(fleet.encode(), "draft: fleet")
        policy = self.policy if draft.policy is None else policy_of(dict(draft.policy), "draft")
        made = self._next(by, fleet, policy, self._source_now())
        return await self._change(made, dry_run, force)

    async def roll_back(self, *, by: str, dry_run: bool = False) -> ConfigChange:
        """Take up the content that ran before this one, as a new generation; raises NotFoundError
        when nothing did."""
        before = self._before()
        made = self._next(
            f"{by}: rollback to {before.number}",
            before.fleet,
            policy_of(dict(before.policy), f"generation {before.number}"),
            self._source_now(),
        )
        return await self._change(made, dry_run, force=True)

    def _before(self) -> Generation:
        """The newest one whose content differs from what runs: twice back is where it began."""
        mine = (self.running.fleet, self.running.policy)
        for number in reversed(self._store.numbers()):
            if number < self.running.number:
                found = self._store.read(number)
                if (found.fleet, found.policy) != mine:
                    return found
        raise NotFoundError("there is no earlier generation to go back to")

    async def _change(
        self, made: Generation, dry_run: bool, force: bool, restart: tuple[str, ...] = ()
    ) -> ConfigChange:
        fleet = read_fleet(made.fleet.encode(), "fleet")
        after = (fleet, policy_of(dict(made.policy), "policy"))
        async with self._lock:
            before = (self.fleet, self.policy)
            found = change(before, after, restart)
            if dry_run or found.is_empty:
                return _told(found, self.running.number, applied=False)
            if not force:
                check_loss(before, after)
            made = msgspec.structs.replace(made, number=self._store.next_number())
            try:
                await asyncio.to_thread(self._store.add, made)
            except OSError as exc:
                raise UnavailableError(f"the generation cannot be written: {exc}") from exc
            self._became(made)
            if self.take_up is not None:
                await self.take_up(made.number, *after)
        _log.warning("another configuration runs", generation=made.number, by=made.by)
        return _told(found, made.number, applied=True)

    def _next(self, by: str, fleet: str, policy: Policy, source: str) -> Generation:
        return Generation(
            number=self._store.next_number(),
            at_s=time.time(),
            by=by[:200],
            fleet=fleet,
            policy=as_dict(policy),
            source=source,
        )

    def _source_now(self) -> str:
        """The files of this moment: a restart goes on with what runs as long as they stay."""
        try:
            return _source(load(self._path))
        except OcaError:
            return self.running.source

    def _restart(self, loaded: Loaded) -> tuple[str, ...]:
        """The settings that differ from those of our start and are not taken up by a reload."""
        ours = {knob.name: knob.value for knob in knobs_of(self._loaded.config)}
        return tuple(
            knob.name
            for knob in knobs_of(loaded.config)
            if not knob.name.startswith(_LIVE) and ours.get(knob.name) != knob.value
        )

    def _info(self, generation: Generation) -> GenerationInfo:
        return GenerationInfo(
            number=generation.number,
            at_s=generation.at_s,
            by=generation.by,
            policy=str(generation.policy.get("name", "")),
            boxes=len(read_fleet(generation.fleet.encode(), "fleet").appliances),
            running=generation.number == self.running.number,
        )


def _source(loaded: Loaded) -> str:
    policy = encode(as_dict(loaded.config.policy))
    return hashlib.sha256(loaded.fleet_text.encode() + b"\0" + policy).hexdigest()


def _told(found: ConfigChange, number: int, *, applied: bool) -> ConfigChange:
    return msgspec.structs.replace(found, generation=number, applied=applied)
