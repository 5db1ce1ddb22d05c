"""Every surface's answer from one decision engine. Pure: clocks are arguments, no socket is near.

`now_s` is our monotonic clock (for silence), `unix_s` the wall clock (for tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from steering.address import Client
from steering.decide import Decision, Question, decide, explanation
from steering.ease import jittered
from steering.policy import Policy
from steering.titles import TitleTable, empty
from steering.tokens import TokenMint
from steering.view import View
from wire.catalogue import Title
from wire.errors import UnavailableError
from wire.steer import AssetUrls, Explanation, SteerAnswer
from wire.token import signed_folder


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by both clocks: monotonic for silence, Unix for tokens (seconds)."""

    now_s: float
    unix_s: float


class Engine:
    """View, titles and tokens, and what is answered from them."""

    def __init__(self, view: View, tokens: TokenMint) -> None:
        """Titles are unknown until `set_titles`."""
        self.view, self.tokens = view, tokens
        self.titles: TitleTable = empty()

    @property
    def rules(self) -> Policy:
        """The policy that answers follow now."""
        return self.view.policy

    def ttl_s(self, client: Client, at: Moment) -> int:
        """How long this answer is good for, in whole seconds; each one's is a little different."""
        rules = self.view.policy
        return jittered(rules.ttl_s, rules.ttl_jitter, hash((client.value, at.now_s)))

    def set_titles(self, titles: TitleTable) -> None:
        """Swap the catalogue's index, all at once."""
        self.titles = titles
        self.view.set_epoch(titles.epoch)

    def what(self, asset: int | None, title_id: str | None) -> tuple[Title, tuple[int, ...]]:
        """The title and assets asked for; raises NotFoundError."""
        if asset is not None:
            return self.titles.title_of(asset), (asset,)
        title = self.titles.title(title_id or "")
        return title, tuple(item.id for item in title.assets)

    def choose(
        self, client: Client, title: Title, assets: Sequence[int], at: Moment
    ) -> tuple[Decision, str]:
        """Who serves a player, and the token for it; raises UnavailableError."""
        question = Question(client, title.id, assets, self.rules.pathways)
        decision = decide(question, self.view.snapshot(at.now_s))
        self.somebody(decision)
        self.view.note(decision.chosen[0].id)
        return decision, self._token(title, assets, decision, at)

    def steer(
        self, client: Client, title: Title, assets: Sequence[int], at: Moment
    ) -> tuple[SteerAnswer, Decision]:
        """Ranked signed URLs; raises UnavailableError when nobody may serve."""
        decision, token = self.choose(client, title, assets, at)
        holders_of = decision.holders
        names = {item.id: item.name for item in title.assets if item.id in holders_of}
        answer = SteerAnswer(
            title=title.id,
            home=decision.home,
            ttl_s=self.ttl_s(client, at),
            places=decision.places,
            assets=tuple(
                AssetUrls(
                    asset=asset,
                    name=names.get(asset, ""),
                    urls={box.id: signed_folder(box.base_url, asset, token) for box in holders},
                )
                for asset, holders in holders_of.items()
            ),
            stale=decision.stale,
        )
        return answer, decision

    def explain(self, client: Client, title: Title, asset: int | None, now_s: float) -> Explanation:
        """Every site and box with its reason; never refuses."""
        assets = tuple(item.id for item in title.assets) if asset is None else (asset,)
        question = Question(client, title.id, assets, self.rules.pathways)
        snapshot = self.view.snapshot(now_s)
        decision = decide(question, snapshot, whole=True)
        return explanation(decision, snapshot, asset, self.rules.ttl_s)

    def _token(self, title: Title, assets: Sequence[int], decision: Decision, at: Moment) -> str:
        if title.manifest is not None and title.manifest in assets:
            return self.tokens.for_manifest(title.manifest, at.unix_s)
        return self.tokens.for_title(title, decision.home, at.unix_s)

    def somebody(self, decision: Decision) -> None:
        """Raise UnavailableError when a decision names nobody."""
        if not decision.places:
            raise UnavailableError(
                "no appliance can serve this client now, and there is no origin in service",
                retry_after_s=self.rules.retry_after_s,
            )
