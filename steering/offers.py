"""What a player's manifest lists, and how it is put in order later: pathways, priorities. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from steering import dash, hls
from steering.address import Client
from steering.decide import Decision, Question, decide
from steering.engine import Engine, Moment
from steering.pathways import Pathway
from steering.titles import assets_by_name
from wire.catalogue import AssetKind, Title
from wire.errors import UnavailableError
from wire.ids import ORIGIN_ID
from wire.steer import ContentSteering, Reason
from wire.token import signed_folder

# The order in which boxes that were passed over are named where a player needs a second choice.
_BETTER_THAN_NONE = (Reason.OVER, Reason.LOAD, Reason.DRAINING, Reason.HEALTH)
PRIORITIES_MIN = 2  # hls.js fails over on errors only when it knows at least two


class Offers:
    """Manifests and steering manifests from one engine."""

    def __init__(self, engine: Engine) -> None:
        """`engine` decides."""
        self._engine = engine

    def priorities(
        self, client: Client, title: Title, listed: Sequence[str], reload_uri: str, now_s: float
    ) -> tuple[ContentSteering, Decision]:
        """The Content Steering manifest: only pathways that the player's manifest lists, so that
        ids and priorities always intersect; never empty (RFC 8216bis, ETSI TS 103 998)."""
        question = self._whole_title(client, title, frozenset(listed))
        decision = decide(question, self._engine.view.snapshot(now_s), whole=True)
        order = [box.id for box in decision.chosen]
        if len(order) < PRIORITIES_MIN:
            order += _second_choices(decision, order)
        order += [name for name in listed if name == ORIGIN_ID and name not in order]
        if not order:
            order = list(listed)
        body = ContentSteering(
            ttl_s=self._engine.rules.ttl_s, priority=tuple(order), reload_uri=reload_uri
        )
        return body, decision

    def play(
        self,
        client: Client,
        title: Title,
        manifest: hls.Multivariant | dash.Manifest,
        steering_url: str,
        at: Moment,
    ) -> tuple[str, Decision]:
        """The origin's manifest with pathways and steering added. `steering_url` is the Content
        Steering surface without its query. Raises UnavailableError when nobody may serve."""
        question = self._whole_title(client, title, None)
        decision = decide(question, self._engine.view.snapshot(at.now_s))
        self._engine.somebody(decision)
        pathways = self._pathways(title, decision, at)
        usable = manifest.usable(pathways)
        if not usable:
            raise UnavailableError(
                "no appliance holds a playable set of this title now",
                retry_after_s=self._engine.rules.retry_after_s,
            )
        return manifest.render(usable, steering_uri(steering_url, title.id, usable)), decision

    def _whole_title(self, client: Client, title: Title, only: frozenset[str] | None) -> Question:
        """For a manifest a box should hold at least half of a title's pictures: on one with fewer
        a player would be shut in a corner of the ladder."""
        videos = tuple(item.id for item in title.assets if item.kind is AssetKind.VIDEO)
        assets = videos or tuple(item.id for item in title.assets)
        return Question(
            client=client,
            title=title.id,
            assets=assets,
            want=self._engine.rules.pathways,
            held_min=max(1, (len(assets) + 1) // 2),
            only=only,
            by_asset=False,
        )

    def _pathways(self, title: Title, decision: Decision, at: Moment) -> list[Pathway]:
        """What the manifest needs to know of each chosen box: what it holds, and where."""
        token = self._engine.tokens.for_title(title, decision.home, at.unix_s)
        names = assets_by_name(title)
        return [
            Pathway(
                id=box.id,
                folders={
                    name: signed_folder(box.base_url, asset, token)
                    for name, asset in names.items()
                    if box.id == ORIGIN_ID or asset in box.holds
                },
            )
            for box in decision.chosen
        ]


def steering_uri(base: str, title: str, pathways: Sequence[Pathway]) -> str:
    """Where a player asks again: it carries the title and the pathways that its manifest lists."""
    return listed_uri(base, title, [pathway.id for pathway in pathways])


def listed_uri(base: str, title: str, listed: Sequence[str]) -> str:
    """As `steering_uri`, from pathway ids."""
    return f"{base}?{urlencode({'title': title, 'pathways': ','.join(listed)}, safe=',')}"


def _second_choices(decision: Decision, order: Sequence[str]) -> list[str]:
    """Listed boxes that were passed over, least bad first; those without the content are none."""
    passed = decision.passed_over()
    found = [
        name
        for reason in _BETTER_THAN_NONE
        for name, why in passed
        if why is reason and name not in order
    ]
    return found[: PRIORITIES_MIN - len(order)]
