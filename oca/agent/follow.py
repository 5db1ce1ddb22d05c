"""Follow the plan: poll for it, accept or refuse it, keep it so that a restart goes on alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from oca.agent.api import Fill
from oca.agent.holdings import Holdings
from oca.agent.intake import Standing, refusal
from oca.agent.metrics import Metrics
from oca.agent.tell import Workers
from wire.durable import write_durably
from wire.errors import OcaError
from wire.keys import VerifyKey
from wire.log import get
from wire.plan import Plan, open_plan

PLAN_FILE = "plan.jws"

_log = get("plan")


class Follower:
    """Owns `run/plan.jws`. `refused` is why the newest plan is not followed, "" when it is."""

    def __init__(
        self,
        me: str,
        run_dir: Path,
        keys: Mapping[str, VerifyKey],
        holdings: Holdings,
        workers: Workers,
        metrics: Metrics,
        *,
        is_origin: bool = False,
    ) -> None:
        """`keys` may sign plans; `me` is the appliance's id. The origin's plan only says who may
        fetch from it: it drops nothing, so no brake applies."""
        self._is_origin = is_origin
        self._me, self._keys, self._path = me, keys, run_dir / PLAN_FILE
        self._holdings, self._workers, self._metrics = holdings, workers, metrics
        self._etag = ""
        self._waiting: tuple[Plan, bytes] | None = None
        self.refused = ""

    def load(self) -> None:
        """At start: go on with the plan that an earlier life accepted, fill or no fill."""
        try:
            plan = open_plan(self._path.read_bytes(), self._keys)
        except FileNotFoundError:
            return
        except (OSError, OcaError) as exc:
            _log.error("the stored plan cannot be used", file=str(self._path), why=str(exc))
            return
        if plan.appliance == self._me:
            self._workers.tell_peers(plan.peers)
            self._follow(plan)

    async def poll(self, fill: Fill) -> None:
        """Ask once; raises ApiError when fill is away."""
        reply = await fill.document(f"/v1/plan/{self._me}", self._etag)
        if reply is not None:
            self._etag = reply.etag
            self._waiting = None
            try:
                self._waiting = (open_plan(reply.body, self._keys), reply.body)
            except OcaError as exc:
                self._refuse(str(exc))
        if self._waiting is not None:
            await self._judge(*self._waiting)

    async def _judge(self, plan: Plan, raw: bytes) -> None:
        holdings = self._holdings
        offered = {} if self._is_origin else holdings.offered()
        standing = Standing(self._me, holdings.epoch, holdings.generation, offered)
        why = refusal(plan, standing, time.time())
        if why:
            self._refuse(f"generation {plan.generation}: {why}")
            return
        if plan.generation != holdings.generation:
            await asyncio.to_thread(write_durably, self._path, raw)
            await asyncio.to_thread(self._workers.tell_peers, plan.peers)
            _log.info("plan accepted", generation=plan.generation, assets=len(plan.desired))
            self._follow(plan)
        self._waiting, self.refused = None, ""

    def _follow(self, plan: Plan) -> None:
        self._metrics.generation.set(plan.generation)
        self._holdings.follow(plan)

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            self.refused = why
            self._metrics.plans_refused.inc()
            _log.error("plan refused", why=why)
