"""The life of a steering replica: load → listen → poll, snapshot, answer → save → stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from steering.admin import Admin, healthz, operators_only
from steering.api import Api, cors
from steering.catalogue import CataloguePoller, Manifests
from steering.config import Config
from steering.engine import Engine
from steering.forwarded import Network, parse_proxies
from steering.intake import Intake, counted
from steering.metrics import Metrics
from steering.playing import Playing
from steering.policy import check as check_policy
from steering.redirect import Redirect
from steering.session import PURPOSE, Seals
from steering.snapshot import SnapshotStore
from steering.tokens import TokenMint, TokenRules
from steering.view import Silence, View
from wire.auth import bearer
from wire.durable import why_not_writable
from wire.errors import UnavailableError, WireError
from wire.fleet import Fleet, read_fleet
from wire.ids import ORIGIN_ID
from wire.keys import SigningKey, derived_secret, parse_private_key
from wire.knobs import read_config
from wire.listen import refuse_clash
from wire.log import get
from wire.token import signed_folder
from wire.web import listen_address, problems, serve_until_stopped

FILL_AUDIENCE = "fill"
"""Whom the signed poll for titles is meant for; fill knows replicas by their key's `kid`."""

_log = get("server")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with every file it names, read and checked."""

    config: Config
    fleet: Fleet
    key: SigningKey
    proxies: tuple[Network, ...]
    state: Path


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
    why = why_not_writable(path.parent / config.state)
    if why is not None:
        raise WireError(str(path), "state", why)
    return Loaded(
        config=config,
        fleet=read_fleet(_bytes_of(fleet_file, "fleet"), str(fleet_file)),
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


class Replica:
    """The parts of one running replica, put together."""

    def __init__(self, loaded: Loaded, session: aiohttp.ClientSession) -> None:
        """Reads the snapshot, so that the first answer is as good as the last one was."""
        config = loaded.config
        loaded.state.mkdir(parents=True, exist_ok=True)
        silence = Silence(config.reports.heartbeat_s, config.reports.missed_max)
        self.view = View(loaded.fleet, silence, config.policy)
        tokens = TokenMint(
            loaded.key,
            TokenRules(config.tokens.issuer, config.tokens.bucket_s, config.tokens.life_s),
        )
        self.engine = Engine(self.view, tokens)
        life_s = config.tokens.bucket_s + config.tokens.life_s
        self.seals = Seals(derived_secret(loaded.key, PURPOSE), life_s)
        self.metrics = Metrics(self.engine)
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
        self._loaded = loaded
        self.store.load()
        self.poller.load()

    def public(self) -> web.Application:
        """The application of the public listener: players and appliances."""
        loaded = self._loaded
        app = web.Application(
            client_max_size=loaded.config.reports.body_bytes_max,
            middlewares=[cors, counted(self.metrics), problems],
        )
        api = self._api(may_name_client=False)
        api.add_to(app)
        self._playing(api).add_to(app)
        Redirect(api, self.engine).add_to(app)
        Intake(self.view, loaded.fleet.public_keys(), self.metrics).add_to(app)
        app.router.add_get("/healthz", healthz)
        return app

    def admin(self) -> web.Application:
        """The application of the admin listener: operators."""
        app = web.Application(middlewares=[problems, operators_only])
        api = self._api(may_name_client=True)
        Admin(self.engine, api, self.metrics).add_to(app)
        self._playing(api).add_to(app)
        Redirect(api, self.engine).add_to(app)
        return app

    def _playing(self, api: Api) -> Playing:
        return Playing(api, self.engine, self.manifests, self.seals, self.metrics)

    def _api(self, *, may_name_client: bool) -> Api:
        return Api(
            self.engine,
            self.metrics,
            self._loaded.proxies,
            self._loaded.config.public_url,
            may_name_client=may_name_client,
        )

    def _manifest_url(self, asset: int, name: str) -> str:
        fleet = self._loaded.fleet
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
        tasks = [
            asyncio.create_task(replica.poller.run()),
            asyncio.create_task(replica.store.run(config.snapshot_s)),
        ]
        for task in tasks:
            task.add_done_callback(_say_if_dead)
        try:
            await serve_until_stopped(
                {config.listen: replica.public(), config.admin: replica.admin()}
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(OSError):
                await replica.store.save()


def _say_if_dead(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a background task died", why=repr(task.exception()))
