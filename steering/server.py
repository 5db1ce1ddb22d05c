"""The life of a steering replica: load → listen → poll, snapshot, answer → save → stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Middleware

from steering.accesslog import AccessLog
from steering.admin import Admin, healthz, openapi, operators_only
from steering.api import Api, cors
from steering.catalogue import CataloguePoller, Manifests
from steering.configapi import ConfigApi
from steering.configuring import Configuring
from steering.engine import Engine
from steering.fleetcache import keep
from steering.gate import Gate, shedding
from steering.generations import Generations
from steering.hot import HotAnswers
from steering.intake import Intake, counted
from steering.lane import Front
from steering.limiter import Limiter
from steering.loading import Loaded
from steering.metrics import Metrics
from steering.networks import Networks
from steering.openapi import PATH as OPENAPI_PATH
from steering.playing import Playing
from steering.policy import Policy
from steering.redirect import Redirect
from steering.session import PURPOSE, Seals
from steering.snapshot import SnapshotStore
from steering.tables import TableBuilder
from steering.tokens import TokenMint, TokenRules
from steering.view import Silence, View
from wire.auth import bearer
from wire.errors import OcaError, UnavailableError
from wire.fleet import Fleet
from wire.ids import ORIGIN_ID
from wire.keys import derived_secret
from wire.log import get
from wire.token import signed_folder
from wire.web import problems, serve_until_stopped

FILL_AUDIENCE = "fill"
"""Whom the signed poll for titles is meant for; fill knows replicas by their key's `kid`."""

RECORDS_FILE = "decisions.jsonl"
_log = get("server")


class Replica:
    """The parts of one running replica, put together."""

    def __init__(self, loaded: Loaded, session: aiohttp.ClientSession) -> None:
        """Reads the snapshot, so that the first answer is as good as the last one was."""
        config = loaded.config
        loaded.state.mkdir(parents=True, exist_ok=True)
        silence = Silence(config.reports.heartbeat_s, config.reports.missed_max)
        self.configuring = Configuring(loaded, Generations(loaded.state / "generations"))
        self.configuring.take_up = self._take_up
        self.view = View(self.configuring.fleet, silence, self.configuring.policy)
        self.view.generation = self.configuring.running.number
        self.networks = Networks(self.view.set_networks)
        self.configuring.networks = self.networks
        self._keys = dict(self.view.fleet.public_keys())
        tokens = TokenMint(
            loaded.key,
            TokenRules(config.tokens.issuer, config.tokens.bucket_s, config.tokens.life_s),
        )
        self.engine = Engine(self.view, tokens)
        life_s = config.tokens.bucket_s + config.tokens.life_s
        self.seals = Seals(derived_secret(loaded.key, PURPOSE), life_s)
        self.metrics = Metrics(self.engine)
        self.records = AccessLog(
            loaded.state / (config.records.file or RECORDS_FILE),
            config.records,
            lambda: (self.view.generation, self.view.fleet.sites),
            self.metrics.recorded,
        )
        self.gate = Gate(Limiter(config.queue_s))
        self.metrics.limiter = self.gate.limiter
        self.store = SnapshotStore(loaded.state, self.view)
        self.manifests = Manifests(
            loaded.state / "manifests",
            session,
            self._manifest_url,
            config.catalogue.fetches,
        )
        self.poller = CataloguePoller(
            loaded.state / "titles.json",
            session,
            config.catalogue.url,
            config.catalogue.poll_s,
            self.engine.set_titles,
            self.manifests,
            lambda: bearer(loaded.key, FILL_AUDIENCE, time.time()),
        )
        self.tables = TableBuilder(self.view, loaded.state)
        self._intake = Intake(self.view, self._keys, self.metrics, self.tables)
        self._loaded = loaded
        self.store.load()
        self.table_is_old = self.tables.load(time.monotonic())
        self.poller.load()
        gc.freeze()  # a million objects that stay: the collector need not look at them again

    def public(self) -> web.Application:
        """The application of the public listener: players and appliances."""
        loaded = self._loaded
        app = web.Application(
            client_max_size=loaded.config.reports.body_bytes_max,
            middlewares=[cors, counted(self.metrics), problems, self._shedding()],
        )
        api = self._api(may_name_client=False)
        api.add_to(app)
        self._playing(api).add_to(app)
        Redirect(api, self.engine).add_to(app)
        self._intake.add_to(app)
        app.router.add_get("/healthz", healthz)
        app.router.add_get(OPENAPI_PATH, openapi)
        return app

    def admin(self) -> web.Application:
        """The application of the admin listener: operators."""
        app = web.Application(middlewares=[problems, operators_only, self._shedding()])
        api = self._api(may_name_client=True)
        Admin(self.engine, api, self.metrics).add_to(app)
        ConfigApi(self.configuring).add_to(app)
        app.router.add_get(OPENAPI_PATH, openapi)
        self._playing(api).add_to(app)
        Redirect(api, self.engine).add_to(app)
        return app

    async def catch_up(self) -> None:
        """What a start leaves for later."""
        running = self.configuring
        fleet_text = running.running.fleet.encode()
        await asyncio.to_thread(keep, fleet_text, running.fleet, self._loaded.state)
        if self.table_is_old:
            await self.tables.refresh(time.monotonic())
        await self.networks.begin(self._loaded.network_files)

    def front(self) -> Front:
        """What stands before the public listener's application."""
        api, proxies = self._api(may_name_client=False), self._loaded.proxies
        return Front(self.gate, HotAnswers(self.engine, api, proxies), time.monotonic)

    def _shedding(self) -> Middleware:
        return shedding(self.gate, lambda: self.view.policy)

    def _playing(self, api: Api) -> Playing:
        return Playing(api, self.engine, self.manifests, self.seals, self.metrics)

    async def _take_up(self, generation: int, fleet: Fleet, policy: Policy) -> None:
        """Another configuration, from the next answer on."""
        keys = dict(fleet.public_keys())
        self.view.generation = generation
        moved = self.view.reconfigure(fleet, policy)
        self._keys.clear()
        self._keys.update(keys)
        if moved:
            await self._intake.rebuild()

    def on_hangup(self) -> None:
        """SIGHUP: take up the files; what is wrong with them is logged and changes nothing."""
        self._reloading = asyncio.create_task(self._reload())

    async def _reload(self) -> None:
        try:
            found = await self.configuring.reload(by="SIGHUP")
        except OcaError as exc:
            _log.error("the configuration is refused, the old one runs on", why=str(exc))
            return
        if found.restart:
            _log.warning("changed settings that only a restart takes up", names=found.restart)
        _log.info("reloaded", generation=found.generation, changed=found.applied,
                  networks=found.networks)  # fmt: skip

    def _api(self, *, may_name_client: bool) -> Api:
        return Api(
            self.engine,
            self.metrics,
            self.records,
            self._loaded.proxies,
            self._loaded.config.public_url,
            may_name_client=may_name_client,
        )

    def _manifest_url(self, asset: int, name: str) -> str:
        fleet = self.view.fleet
        origin = fleet.appliance(ORIGIN_ID)
        if origin is None:
            raise UnavailableError("the fleet has no origin to fetch manifests from")
        token = self.engine.tokens.for_manifest(asset, time.time())
        return signed_folder(fleet.base_url(origin), asset, token) + name


async def serve(loaded: Loaded) -> None:
    """Run a replica until SIGTERM or SIGINT."""
    config = loaded.config
    timeout = aiohttp.ClientTimeout(total=config.catalogue.timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        replica = Replica(loaded, session)
        front = replica.front()
        tasks = [
            asyncio.create_task(front.sweep()),
            asyncio.create_task(replica.catch_up()),
            asyncio.create_task(replica.poller.run()),
            asyncio.create_task(replica.records.run()),
            asyncio.create_task(replica.store.run(config.snapshot_s)),
        ]
        for task in tasks:
            task.add_done_callback(_say_if_dead)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, replica.on_hangup)
        try:
            await serve_until_stopped(
                {config.listen: replica.public(), config.admin: replica.admin()},
                {config.listen: front.lane},
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await replica.records.flush()
            with contextlib.suppress(OSError):
                await replica.store.save()


def _say_if_dead(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a background task died", why=repr(task.exception()))
