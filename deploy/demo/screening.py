"""Both films watched from both ISPs at once, and what befalls the boxes meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.demo import layout
from deploy.demo.films import FILMS
from deploy.demo.httpclient import Client
from deploy.demo.player import Diary, InFlight, Player
from deploy.demo.processes import Crew
from deploy.demo.truth import Truth

# A good line, yet slow enough that a segment of the best rendition is under way for half a second.
LINE_BPS = 16_000_000
PATIENCE_S = 1.0
# "In the middle" of a response: enough has arrived to see it flow, much more than what kernels
# hold is still to come.
MIDDLE = (0.15, 0.55)
RESPONSE_BYTES_MIN = 300_000


@dataclass(slots=True)
class Accident:
    """`kill` or `freeze` of a box in `isp` while it serves a viewer there.

    It happens at the first chance after `not_before_s` on the players' clock; then `box` and `film`
    are known, and how many of how many bytes of the response had arrived.
    """

    what: str
    isp: str
    not_before_s: float
    box: str = ""
    film: str = ""
    at_s: float = float("inf")
    got_bytes: int = 0
    want_bytes: int = 0
    sums_before: Counter[tuple[str, str]] = field(default_factory=Counter)
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def happened(self) -> bool:
        """Whether it has."""
        return bool(self.box)


@dataclass(frozen=True, slots=True)
class Viewer:
    """One seat: the ISP it sits in, the film it watches, and the player."""

    isp: layout.Isp
    film: str
    player: Player


class Screening:
    """Four viewers and the accidents; `await run()` returns when all films have ended."""

    def __init__(self, crew: Crew, truth: Truth, accidents: Sequence[Accident]) -> None:
        """Accidents happen in their order, one at a time."""
        self._crew, self.accidents = crew, accidents
        self.viewers = [
            self._seat(isp, film.title, number, truth)
            for isp in layout.ISPS
            for number, film in enumerate(FILMS)
        ]

    def _seat(self, isp: layout.Isp, film: str, number: int, truth: Truth) -> Viewer:
        client = Client(f"{isp.clients}.5.{5 + number}", PATIENCE_S, LINE_BPS)
        player = Player(film, f"http://{layout.STEERING}", client, truth, self._watch)
        return Viewer(isp, film, player)

    async def run(self, until_s: float) -> Mapping[tuple[str, str], Diary]:
        """Play everything, or the first `until_s` seconds of it; diaries by (ISP, film)."""
        diaries = await asyncio.gather(*(one.player.play(until_s) for one in self.viewers))
        return {
            (one.isp.site, one.film): diary
            for one, diary in zip(self.viewers, diaries, strict=True)
        }

    def sums(self) -> Counter[tuple[str, str]]:
        """Body bytes received so far, by (home site, serving box)."""
        sums: Counter[tuple[str, str]] = Counter()
        for one in self.viewers:
            for host, size in one.player.client.delivered.items():
                sums[one.isp.site, layout.BOX_OF_HOST[host]] += size
        return sums

    def viewer(self, isp: str, film: str) -> Viewer:
        """The viewer in that seat."""
        return next(one for one in self.viewers if (one.isp.site, one.film) == (isp, film))

    def _watch(self, player: Player, flight: InFlight) -> None:
        """Every arrival passes here: the place to strike in the middle of a response."""
        next_up = next((one for one in self.accidents if not one.happened), None)
        if next_up is None or flight.kind != "video" or flight.want_bytes < RESPONSE_BYTES_MIN:
            return
        if not MIDDLE[0] <= flight.got_bytes / flight.want_bytes <= MIDDLE[1]:
            return
        box = layout.BOX_OF_HOST[flight.host]
        inside = next_up.isp == layout.SITE_OF[box]
        seat = next(one for one in self.viewers if one.player is player)
        if inside and seat.isp.site == next_up.isp and player.now_s() >= next_up.not_before_s:
            self._strike(next_up, box, player, flight)

    def _strike(self, accident: Accident, box: str, player: Player, flight: InFlight) -> None:
        process = self._crew.processes[box]
        accident.sums_before = self.sums()
        accident.box, accident.film, accident.at_s = box, player.title, player.now_s()
        accident.got_bytes, accident.want_bytes = flight.got_bytes, flight.want_bytes
        if accident.what == "kill":
            process.kill()
        else:
            process.freeze()
        accident.struck.set()
