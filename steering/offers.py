"""What a player's manifest offers, and how later answers put it in order. Pure: clocks and chance
are arguments.

A manifest lists the chosen boxes and the origin. Later answers speak of those, and of boxes that
hold the whole title and can therefore be cloned from a listed pathway by changing the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from msgspec import UNSET

from steering import dash, hls
from steering.address import Client
from steering.asked import Asked
from steering.choose import Box
from steering.decide import Decision, Question, Snapshot, decide
from steering.ease import jittered
from steering.engine import Engine, Moment
from steering.order import Listing, clones, has_port, nearest, priorities, stay
from steering.pathways import Pathway
from steering.session import Seals, Session, Standing, digest_of
from steering.titles import assets_by_name
from wire.catalogue import AssetKind, Title
from wire.errors import PeerError, UnavailableError
from wire.ids import ORIGIN_ID
from wire.pathways import SteeringManifest
from wire.token import signed_folder

KEY_BITS = 64


class SessionOverError(PeerError):
    """The session's URLs have expired with the tokens in them: the player stops asking (410)."""

    status = 410


@dataclass(frozen=True, slots=True)
class Steered:
    """An answer to a player: the manifest, what it follows from, and how the state was."""

    manifest: SteeringManifest
    decision: Decision
    standing: Standing


class Offers:
    """Manifests and steering manifests from one engine."""

    def __init__(self, engine: Engine, seals: Seals) -> None:
        """`engine` decides; `seals` keep what a session carries."""
        self._engine, self._seals = engine, seals

    def steering(
        self, client: Client, title: Title, asked: Asked, url: str, at: Moment, chance: int
    ) -> Steered:
        """The steering manifest; `url` is this surface without its query, `chance` KEY_BITS random
        bits. Raises SessionOverError when the session's URLs are no longer good."""
        standing, session = self._seals.read(asked.state, title.id, asked.listed, at.unix_s)
        if standing is Standing.EXPIRED:
            raise SessionOverError("this viewing's URLs have expired: load the manifest again")
        snapshot = self._engine.view.snapshot(at.now_s)
        found = self._judged(client, title, asked, snapshot)
        among = found[0]
        if session is None:
            session = self._begun(title, among.home, asked.listed, None, at, chance)
        listing = Listing(asked.listed, session.base)
        clonable = self._clonable(session, title)
        if clonable:
            found.append(decide(self.question(client, title), snapshot))
        rank = {place.pathway: place.rank for one in found for place in one.places}
        boxes = nearest(
            found, listing, rank, lambda box: clonable and _may_clone(box, title, asked)
        )
        if session.home == among.home:
            boxes = stay(boxes, asked.current, lambda name: rank[name])
        made = clones(boxes, listing, with_port=asked.drops_ports is False)
        body = SteeringManifest(
            ttl_s=jittered(self._engine.rules.ttl_s, self._engine.rules.ttl_jitter, chance),
            priority=priorities(boxes, among, listing),
            reload_uri=steering_uri(url, session, self._seals),
            clones=made or UNSET,
        )
        return Steered(body, among, standing)

    def play(
        self,
        client: Client,
        title: Title,
        manifest: hls.Multivariant | dash.Manifest,
        steering_url: str,
        at: Moment,
        chance: int,
    ) -> tuple[str, Decision]:
        """The origin's manifest with pathways and steering added. `steering_url` is the Content
        Steering surface without its query. Raises UnavailableError when nobody may serve."""
        decision = decide(self.question(client, title), self._engine.view.snapshot(at.now_s))
        self._engine.somebody(decision)
        pathways = self._pathways(title, decision, at)
        usable = manifest.usable(pathways)
        if not usable:
            raise UnavailableError(
                "no appliance holds a playable set of this title now",
                retry_after_s=self._engine.rules.retry_after_s,
            )
        listed = tuple(way.id for way in usable)
        base = next((way.id for way in reversed(usable) if _is_whole(way, title)), None)
        session = self._begun(title, decision.home, listed, base, at, chance)
        return manifest.render(usable, steering_uri(steering_url, session, self._seals)), decision

    def question(self, client: Client, title: Title) -> Question:
        """Who should serve a whole title. For a manifest a box should hold at least half of its
        pictures: on one with fewer a player would be shut in a corner of the ladder."""
        videos = tuple(item.id for item in title.assets if item.kind is AssetKind.VIDEO)
        assets = videos or tuple(item.id for item in title.assets)
        return Question(
            client=client,
            title=title.id,
            assets=assets,
            want=self._engine.rules.pathways,
            held_min=max(1, (len(assets) + 1) // 2),
            by_asset=False,
        )

    def _among(self, client: Client, title: Title, only: frozenset[str]) -> Question:
        """As `question`, of some boxes alone, and as many of them as may serve."""
        whole = self.question(client, title)
        return Question(
            client=whole.client,
            title=whole.title,
            assets=whole.assets,
            want=len(only),
            held_min=whole.held_min,
            only=only,
            by_asset=False,
        )

    def _judged(
        self, client: Client, title: Title, asked: Asked, snapshot: Snapshot
    ) -> list[Decision]:
        """Who may serve of what the player has already; and, where that is not among them, the one
        that serves it now, by itself: what the others of its site shed is no reason to leave it."""
        current = frozenset([asked.current] if asked.current else [])
        known = current.union(asked.listed)
        among = decide(self._among(client, title, known), snapshot, whole=True)
        if current <= {box.id for box in among.chosen}:
            return [among]
        return [among, decide(self._among(client, title, current), snapshot, whole=True)]

    def _begun(
        self,
        title: Title,
        home: str,
        listed: Sequence[str],
        base: str | None,
        at: Moment,
        chance: int,
    ) -> Session:
        return Session(
            title=title.id,
            listed=tuple(listed),
            home=home,
            key=chance,
            assets=digest_of(item.id for item in title.assets),
            begun_s=int(at.unix_s),
            base=base,
        )

    def _clonable(self, session: Session, title: Title) -> bool:
        """Whether there is a pathway to clone, of a manifest made of what the title is now."""
        current = digest_of(item.id for item in title.assets)
        return session.base is not None and session.assets == current

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


def steering_uri(base: str, session: Session, seals: Seals) -> str:
    """Where a player asks again: it carries the title, what its manifest lists, and the state."""
    said = {
        "title": session.title,
        "pathways": ",".join(session.listed),
        "state": seals.seal(session),
    }
    return f"{base}?{urlencode(said, safe=',')}"


def kept(asked: Asked, ttl_s: int) -> SteeringManifest:
    """What is answered without a decision when there is no time for one: stay where you are, and
    come back later to the URL that you have. (A refusal would be worse: hls.js never asks again
    after a 429, and players that hear nothing ask again at once.) A clone is named as well: who
    has forgotten it ignores it, and goes to what its manifest lists."""
    stays = (asked.current,) if asked.current else ()
    return SteeringManifest(ttl_s=ttl_s, priority=tuple(dict.fromkeys((*stays, *asked.listed))))


def _is_whole(way: Pathway, title: Title) -> bool:
    return all(asset.name in way.folders for asset in title.assets)


def _may_clone(box: Box, title: Title, asked: Asked) -> bool:
    """Whether this player can use a box that its manifest does not list: the box holds all that
    any pathway may list, and we know how the player reads HOST."""
    readable = asked.drops_ports is not None or not has_port(box.base_url)
    return readable and (
        box.id == ORIGIN_ID or all(asset.id in box.holds for asset in title.assets)
    )
