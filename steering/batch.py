"""Many assets at once: one locate, one frozen state, one token a title. Pure.

The work is cut into steps, one a title, so that a thousand titles do not hold up the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from steering.address import Client
from steering.decide import Decision, Question, decide
from steering.engine import Engine, Moment
from steering.titles import assets_by_name
from wire.catalogue import Title
from wire.errors import NotFoundError, UnavailableError
from wire.ids import ORIGIN_ID
from wire.steer import BatchAnswer, BatchAsset, BatchPlace
from wire.token import PACKAGE


class Batch:
    """One question for many assets while it is being answered."""

    def __init__(self, engine: Engine, client: Client, assets: Sequence[int], at: Moment) -> None:
        """`assets` may be of any titles, or of none."""
        self._engine, self._client, self._at = engine, client, at
        self._asked = tuple(dict.fromkeys(assets))
        self.snapshot = engine.view.snapshot(at.now_s)
        self._found: dict[int, BatchAsset] = {}
        self._places: dict[str, BatchPlace] = {}

    def steps(self) -> Iterator[Decision]:
        """Decide title by title; each title's decision as soon as it is made."""
        groups: dict[str, tuple[Title, list[int]]] = {}
        for asset in self._asked:
            try:
                title = self._engine.titles.title_of(asset)
            except NotFoundError as exc:
                self._found[asset] = BatchAsset(asset=asset, reason="unknown", detail=str(exc))
                continue
            groups.setdefault(title.id, (title, []))[1].append(asset)
        for title, assets in groups.values():
            yield self._decide(title, assets)

    def answer(self) -> BatchAnswer:
        """What was found, after the last step."""
        ranked = self.snapshot.ranking.of(self._client)
        return BatchAnswer(
            home=ranked[0].site if ranked else "",
            ttl_s=self._engine.ttl_s(self._client, self._at),
            places=tuple(sorted(self._places.values(), key=lambda place: place.rank)),
            assets=tuple(self._found[asset] for asset in self._asked),
            stale=self.snapshot.stale,
        )

    def _decide(self, title: Title, assets: Sequence[int]) -> Decision:
        question = Question(self._client, title.id, assets, self._engine.rules.pathways)
        decision = decide(question, self.snapshot)
        ranks = {place.pathway: place.rank for place in decision.places}
        for box in decision.chosen:
            self._places.setdefault(
                box.id,
                BatchPlace(
                    pathway=box.id, site=box.site, rank=ranks[box.id], base_url=box.base_url
                ),
            )
        names = {number: name for name, number in assets_by_name(title).items()}
        for asset in assets:
            self._found[asset] = self._one(title, asset, names.get(asset, ""), decision)
        return decision

    def _one(self, title: Title, asset: int, name: str, decision: Decision) -> BatchAsset:
        holders = tuple(box.id for box in decision.holders[asset])
        try:
            if not holders:
                raise UnavailableError("no appliance can serve it to this client now")
            token = self._token(title, asset, decision.home)
        except UnavailableError as exc:
            return BatchAsset(
                asset=asset, title=title.id, name=name, reason="unavailable", detail=str(exc)
            )
        path = f"/a/{asset};{PACKAGE}={token}/"
        return BatchAsset(asset=asset, title=title.id, name=name, path=path, pathways=holders)

    def _token(self, title: Title, asset: int, home: str) -> str:
        if asset == title.manifest:
            return self._engine.tokens.for_manifest(asset, self._at.unix_s)
        return self._engine.tokens.for_title(title, home, self._at.unix_s)


def redirect_target(
    engine: Engine, client: Client, title: Title, asset: int, passed: frozenset[str], at: Moment
) -> tuple[str, Decision]:
    """The signed folder of one asset at the best box that is not among `passed`, which sent the
    client away; raises NotFoundError when the origin did so, UnavailableError."""
    if ORIGIN_ID in passed:
        raise NotFoundError(f"the origin has no such file of asset {asset}")
    snapshot = engine.view.snapshot(at.now_s)
    only = frozenset(engine.view.records) - passed if passed else None
    decision = decide(Question(client, title.id, (asset,), 1, only=only), snapshot)
    if not decision.chosen:
        raise UnavailableError(
            "no appliance can serve this client now, and there is no origin in service",
            retry_after_s=engine.rules.retry_after_s,
        )
    token = (
        engine.tokens.for_manifest(asset, at.unix_s)
        if asset == title.manifest
        else engine.tokens.for_title(title, decision.home, at.unix_s)
    )
    return f"{decision.chosen[0].base_url}/a/{asset};{PACKAGE}={token}/", decision
