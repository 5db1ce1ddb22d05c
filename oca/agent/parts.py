"""Put an agent together: the store, what earlier lives accepted, and its errands by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from oca.agent import api
from oca.agent.dropper import Dropper, Purger
from oca.agent.events import Events
from oca.agent.fetch import Fetcher
from oca.agent.filler import Filler
from oca.agent.filling import Chores
from oca.agent.flow import Flow
from oca.agent.follow import Follower
from oca.agent.holdings import Holdings
from oca.agent.keeper import Keeper, open_keeper
from oca.agent.loops import Loop, every, when_changed
from oca.agent.manners import Manners
from oca.agent.metrics import Metrics
from oca.agent.outbox import Outbox
from oca.agent.pool import Pool
from oca.agent.pulse import Pulse
from oca.agent.purse import Purse
from oca.agent.reports import Reporter
from oca.agent.routes import RoutesFile
from oca.agent.sources import LIES
from oca.agent.tell import Workers
from oca.agent.vitals import Vitals
from oca.config import Config, split_address
from oca.store import Store
from oca.through.purging import purge_assets
from wire.codec import decode
from wire.errors import WireError
from wire.ids import Epoch
from wire.keys import SigningKey, VerifyKey, parse_private_key, parse_verify_key
from wire.reports import DiskTold

REMARK_CHARS_MAX = 300
ED25519 = "EdDSA"  # its JOSE name
UNWELL_S = 1.0
"""While a box is unwell it looks this often, so that it is back as soon as it is well."""
ROUTES_LOOK_S = 0.25
"""How often the file of routes is looked at: what BGP says is with steering within 2 s."""


class _World(msgspec.Struct):
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Parts:
    """An agent put together; `loops` are its errands by name."""

    holdings: Holdings
    pulse: Pulse
    filler: Filler
    chores: Chores
    dropper: Dropper
    follower: Follower
    purger: Purger
    reporter: Reporter
    events: Events
    vitals: Vitals
    routes: RoutesFile
    workers: Workers
    store: Store
    keeper: Keeper
    metrics: Metrics


def assemble(config: Config, session: aiohttp.ClientSession, pool: Pool) -> Parts:
    """Open store and run folder, and load what earlier lives accepted. Blocks.

    Raises OcaError naming what cannot be used.
    """
    me, knobs, run_dir = config.id, config.agent, Path(config.run)
    run_dir.mkdir(parents=True, exist_ok=True)
    key, keys = own_key(config), plan_keys(config)
    pulse, metrics = Pulse(), Metrics()
    holdings, workers = Holdings(pulse.beat), Workers(run_dir, knobs.site)
    vitals = Vitals(run_dir, _probe_url(config), knobs.link_bps, metrics, knobs.answer_ttl_s)
    keeper = open_keeper(config, holdings, workers, metrics, pool.renew, vitals.note_disks)
    store, remover = keeper.store, keeper.remover
    workers.forget()
    outbox = Outbox(run_dir, me, knobs.site, time.time())
    routes = RoutesFile(Path(knobs.routes_file) if knobs.routes_file else None)
    events = Events(run_dir, outbox, metrics)
    purse = Purse(run_dir, config.fill.budget_bytes)
    flow = Flow(config.fill.rate_bps, purse.took, time.monotonic())
    fetcher = Fetcher(store, session, key, config.fill, pool, flow, metrics)
    fill = fill_api(config, session, key)
    filler = Filler(me, store, holdings, pulse, fetcher, fill, purse, config.fill, metrics)
    events.filling = filler.told
    manners = Manners(session, run_dir, _probe_url(config), knobs.link_bps, config.fill, flow)
    chores = Chores(run_dir, filler, purse, manners, holdings, store)
    is_origin = config.role == "origin"
    follower = Follower(me, run_dir, keys, holdings, workers, metrics, is_origin=is_origin)
    remark = partial(_remark, follower, fetcher, routes)
    reporter = Reporter(
        me, outbox.boot, holdings, pulse, routes, vitals, knobs, remark, events.begin_boot
    )
    reporter.disks = partial(_disks, store)
    parts = Parts(
        holdings=holdings,
        pulse=pulse,
        filler=filler,
        chores=chores,
        dropper=Dropper(holdings, pulse, reporter, remover, events.asked_s, knobs, metrics),
        follower=follower,
        purger=Purger(me, run_dir, keys, holdings, remover, _forget_pulled(config)),
        reporter=reporter,
        events=events,
        vitals=vitals,
        routes=routes,
        workers=workers,
        store=store,
        keeper=keeper,
        metrics=metrics,
    )
    parts.follower.load()
    parts.purger.load()
    return parts


def loops_of(parts: Parts, config: Config, session: aiohttp.ClientSession) -> dict[str, Loop]:
    """The agent's errands by name. The origin fetches and drops nothing: its tree is made."""
    knobs, key = config.agent, own_key(config)
    loops: dict[str, Loop] = {
        "routes": every(ROUTES_LOOK_S, partial(_look_at_routes, parts)),
        "vitals": partial(_watch, parts, knobs.heartbeat_s),
        "counts": every(knobs.events_s, parts.events.collect),
    }
    for base in knobs.steering:
        replica = api.Steering(session, key, base, "steering", knobs.timeout_s)
        loops[f"steering {base}"] = partial(parts.reporter.tell_steering, base, replica)
    if knobs.fill:
        fill = fill_api(config, session, key)
        loops |= {
            "plan": every(knobs.plan_poll_s, partial(parts.follower.poll, fill)),
            "purge": every(knobs.purge_poll_s, partial(parts.purger.poll, fill)),
            "purged": when_changed(parts.pulse, parts.purger.carry_out),
            "events": when_changed(
                parts.events.fresh, partial(parts.events.deliver, fill), knobs.events_s
            ),
            "inventory": partial(parts.reporter.tell_fill, fill),
        }
    loops |= parts.keeper.loops()
    if config.role == "origin":
        loops["relist"] = every(knobs.heartbeat_s, partial(_relist, parts))
    else:
        loops |= {"fill": parts.filler.run, "drop": parts.dropper.run, **parts.chores.loops()}
    return parts.keeper.gated(loops)


def _remark(follower: Follower, fetcher: Fetcher, routes: RoutesFile) -> str:
    """What a healthy box has to say in its heartbeat: what an operator should look at."""
    if follower.refused:
        return f"plan refused: {follower.refused}"[:REMARK_CHARS_MAX]
    if routes.fault:
        return f"routes: {routes.fault}"[:REMARK_CHARS_MAX]
    struck = fetcher.book.struck(time.monotonic())
    liars = [f"{source} ({why})" for source, why in struck.items() if why in LIES]
    return f"struck off: {', '.join(sorted(liars))}"[:REMARK_CHARS_MAX] if liars else ""


def _disks(store: Store) -> tuple[DiskTold, ...]:
    """What fill is told of the disks: nothing while all of them are in use."""
    seats = store.disks.seats
    if all(seat.is_live for seat in seats):
        return ()
    return tuple(DiskTold(key=s.key, bytes=s.weight_bytes, live=s.is_live) for s in seats)


async def _watch(parts: Parts, period_s: float) -> None:
    """Readings for every heartbeat, and more often while something is wrong."""
    while True:
        before = parts.vitals.health
        await parts.vitals.take()
        if parts.vitals.health != before:
            parts.pulse.beat()
        await asyncio.sleep(period_s if parts.vitals.health == 1 else min(period_s, UNWELL_S))


async def _look_at_routes(parts: Parts) -> None:
    if await asyncio.to_thread(parts.routes.refresh):
        prefixes = tuple(route.prefix for route in parts.routes.routes)
        await asyncio.to_thread(parts.workers.tell_prefixes, prefixes)
        parts.pulse.beat()


async def _relist(parts: Parts) -> None:
    holdings, store = parts.holdings, parts.store
    if not holdings.epoch:
        holdings.epoch = await asyncio.to_thread(_epoch_of_tree, store.root)
    holdings.reset(await asyncio.to_thread(store.listing, holdings.held))


def _forget_pulled(config: Config) -> Callable[[Iterable[int]], int] | None:
    """What takes assets out of the dynamic region; None on a box that has none."""
    return partial(purge_assets, Path(config.run)) if config.through.policy == "fetch" else None


def own_key(config: Config) -> SigningKey:
    """The box's own key; raises WireError when it is not there or not one."""
    path = config.agent.key_file
    try:
        raw = Path(path).read_bytes()
    except OSError as exc:
        raise WireError("agent.key_file", "", f"{path or 'it is not set'}: {exc.strerror}") from exc
    key = parse_private_key(raw, config.id, path)
    if key.alg != ED25519:
        raise WireError("agent.key_file", "", f"{path} is no Ed25519 key", hint="oca keygen FILE")
    return key


def plan_keys(config: Config) -> Mapping[str, VerifyKey]:
    """The keys that may sign plans and purge lists; raises WireError naming the bad one."""
    keys: dict[str, VerifyKey] = {}
    for kid, text in config.agent.plan_keys.items():
        keys[kid] = parse_verify_key(text, f"agent.plan_keys.{kid}")
        if keys[kid].alg != ED25519:
            detail = "plans are signed with Ed25519; with a shared secret any box could sign them"
            raise WireError(f"agent.plan_keys.{kid}", "", detail)
    return keys


def fill_api(config: Config, session: aiohttp.ClientSession, key: SigningKey) -> api.Fill:
    """How this box speaks to `fill serve`."""
    return api.Fill(session, key, config.agent.fill, "fill", config.agent.timeout_s)


def status(parts: Parts) -> dict[str, Any]:
    """What /v1/status shows: the plan, what is missing and why, what is leaving, the health."""
    holdings, vitals = parts.holdings, parts.vitals
    return {
        "generation": holdings.generation,
        "epoch": holdings.epoch,
        "plan_refused": parts.follower.refused,
        "held": len(holdings.held),
        "held_bytes": holdings.held_bytes(),
        "leaving": sorted(holdings.leaving),
        **parts.filler.status(),
        "yields": parts.chores.yields,
        "purge_number": parts.purger.number,
        "routes": len(parts.routes.routes),
        "routes_fault": parts.routes.fault,
        "steering": {link.name: link.fault or "well" for link in parts.reporter.links.values()},
        "health": vitals.health,
        "why": vitals.why,
        "admit": vitals.admit,
        "draining": vitals.draining,
    }


def _epoch_of_tree(root: Path) -> str:
    """The world of an origin's tree, from the catalogue beside it; "" when there is none."""
    try:
        return decode(_World, (root / "catalogue.json").read_bytes(), "catalogue.json").epoch
    except OSError:
        return ""


def _probe_url(config: Config) -> str:
    host, port = split_address(config.listen, "listen")
    if not port:
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    scheme = "https" if config.tls.cert else "http"
    return f"{scheme}://[{host}]:{port}/" if ":" in host else f"{scheme}://{host}:{port}/"
