"""The order of measuring: heats, then rounds in which everyone is measured once, in turn.

A round is one pair for every two servers in it. The order rotates, so nobody always comes first or
always after the same neighbour. While one is measured the others are frozen.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from benchmarks.edge_claims import median_of
from benchmarks.edge_peers import BY_NAME, CONFIGS, Launcher, Peer, PeerError, Server
from benchmarks.edge_scenarios import LOAD_CORE, Desk, Reading, Scenario, check, warm
from benchmarks.load import LoadError
from benchmarks.measure import set_notsent_lowat
from benchmarks.page_cache import held_in_memory

HEATS, HEAT_S = 3, 1.0
QUALIFIES = 0.7
"""Share of the best rate in the heats from which on a peer goes on; well below what any claim
looks at (0.8), so that noise in the heats cannot remove who matters."""

ALWAYS_ON = ("nginx-shipped", "nginx-full")
"""In every final: the yardstick of the claims, and nginx with as much switched on as it has (they
do not stand in for the family's best)."""

NOT_IN_HEATS = ("nginx-aio", "nginx-tls")
TUNED_NOTSENT_LOWAT = "61440"
"""Unsent bytes a socket may hold: for every tuned peer, by the kernel's setting for all, what oca
sets for itself (oca.server.UNSENT_BYTES_MAX). It does them as much good as it does us."""

FAULTS = (PeerError, LoadError, OSError, subprocess.SubprocessError)


@dataclass
class Outcome:
    """What one scenario gave: readings a round of who ran the distance, readings of the heats,
    and why others have none."""

    scenario: Scenario
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    heats: dict[str, list[Reading]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


@dataclass
class Course:
    """Runs scenarios. `backend` is the server behind the proxies, on the load's core."""

    desk: Desk
    launcher: Launcher
    rounds: int
    peers: tuple[Peer, ...]
    default_lowat: str
    may_set_lowat: bool
    say: Callable[[str], None]
    backend: Server | None = None

    def run(self, scenario: Scenario) -> Outcome:
        """One scenario from heats to the last round; a server that fails is named, not hidden."""
        outcome = Outcome(scenario)
        files = [path for _, path in self.desk.tree.files(scenario.size)]
        with held_in_memory(files) as held:
            if not held:
                self.say("the files cannot be locked in memory: see files_cached")
            self._all(scenario, outcome)
        return outcome

    def _all(self, scenario: Scenario, outcome: Outcome) -> None:
        try:
            names = self._field(scenario, outcome)
            ours = self._ours(scenario, outcome)
            if scenario.fresh:
                self._fresh_rounds(scenario, [*ours, *names], outcome)
            else:
                self._steady_rounds(scenario, [*ours, *names], outcome)
        finally:
            if self.backend is not None:
                self.backend.stop()
                self.backend = None

    # --- who takes part --------------------------------------------------------------------------

    def _ours(self, scenario: Scenario, outcome: Outcome) -> list[str]:
        if (CONFIGS / f"{scenario.ours}.conf").exists():
            return [scenario.ours]
        outcome.absent[scenario.ours] = f"oca has no peers/{scenario.ours}.conf yet"
        return []

    def _field(self, scenario: Scenario, outcome: Outcome) -> list[str]:
        wanted = [peer.name for peer in self.peers]
        if not scenario.heats:
            return [name for name in scenario.field if name in wanted]
        for name in wanted:
            if name not in NOT_IN_HEATS:
                self._heat(scenario, name, outcome)
        return _qualified(outcome.heats)

    def _heat(self, scenario: Scenario, name: str, outcome: Outcome) -> None:
        """One peer alone, so that its memory does not stand in others' way."""
        try:
            server = self._start(scenario, name)
        except FAULTS as exc:
            outcome.absent[name] = str(exc)
            return
        try:
            for _ in range(HEATS):
                outcome.heats.setdefault(name, []).append(self._read(scenario, server, HEAT_S))
        except FAULTS as exc:
            outcome.absent[name] = str(exc)
            outcome.heats.pop(name, None)
        finally:
            server.stop()
        self._report(scenario, "heat", name, outcome.heats.get(name, []))

    # --- rounds ----------------------------------------------------------------------------------

    def _steady_rounds(self, scenario: Scenario, names: list[str], outcome: Outcome) -> None:
        servers: dict[str, Server] = {}
        try:
            for name in names:
                try:
                    servers[name] = self._start(scenario, name)
                    servers[name].freeze()
                except FAULTS as exc:
                    outcome.absent[name] = str(exc)
            for number in range(self.rounds):
                for name in _rotated(servers, number):
                    self._turn(scenario, servers, name, outcome)
        finally:
            for server in servers.values():
                server.stop()

    def _turn(
        self, scenario: Scenario, servers: dict[str, Server], name: str, outcome: Outcome
    ) -> None:
        server = servers[name]
        server.thaw()
        try:
            outcome.readings.setdefault(name, []).append(self._read(scenario, server))
            self._report(scenario, "round", name, outcome.readings[name])
            server.freeze()
        except FAULTS as exc:
            outcome.absent[name] = str(exc)
            servers.pop(name).stop()

    def _fresh_rounds(self, scenario: Scenario, names: list[str], outcome: Outcome) -> None:
        going = list(names)
        for number in range(self.rounds):
            for name in _rotated(going, number):
                try:
                    server = self._start(scenario, name)
                except FAULTS as exc:
                    outcome.absent[name] = str(exc)
                    going.remove(name)
                    continue
                try:
                    outcome.readings.setdefault(name, []).append(self._read(scenario, server))
                    self._report(scenario, "round", name, outcome.readings[name])
                except FAULTS as exc:
                    outcome.absent[name] = str(exc)
                    going.remove(name)
                finally:
                    server.stop()

    # --- one server ------------------------------------------------------------------------------

    def _start(self, scenario: Scenario, name: str) -> Server:
        peer, port = BY_NAME[name], 0
        if peer.has_backend:
            if self.backend is None:
                behind = replace(BY_NAME["nginx-tuned"], folder="backend")
                self.backend = self.launcher.start(behind, {LOAD_CORE}, 1)
            port = self.backend.port
        server = self.launcher.start(peer, scenario.cores, scenario.workers, port)
        try:
            check(self.desk, server, scenario.size)
            warm(self.desk, server, scenario.size)
        except BaseException:
            server.stop()
            raise
        return server

    def _read(self, scenario: Scenario, server: Server, seconds: float = 0.0) -> Reading:
        if self.may_set_lowat:
            tuned = server.peer.tuned
            set_notsent_lowat(TUNED_NOTSENT_LOWAT if tuned else self.default_lowat)
        time.sleep(0.1)
        return scenario.read(replace(self.desk, seconds=seconds or self.desk.seconds), server)

    def _report(self, scenario: Scenario, stage: str, name: str, readings: list[Reading]) -> None:
        if readings:
            shown = " ".join(f"{key}={value:.4g}" for key, value in readings[-1].items())
            self.say(f"{scenario.name} {stage} {len(readings)} {name}: {shown}")


def _rotated(names: Iterable[str], number: int) -> list[str]:
    order = list(names)
    at = number % len(order) if order else 0
    return order[at:] + order[:at]


def _qualified(heats: dict[str, list[Reading]]) -> list[str]:
    """Of each family the best configuration, if near enough to the top; and who always runs."""
    rates = {name: median_of(readings, "rate") or 0.0 for name, readings in heats.items()}
    top = max(rates.values(), default=0.0)
    best: dict[str, str] = {}
    for name, rate in rates.items():
        if name in ALWAYS_ON:
            continue
        family = BY_NAME[name].family
        if family not in best or rate > rates[best[family]]:
            best[family] = name
    going = {name for name in best.values() if rates[name] >= QUALIFIES * top}
    return [name for name in rates if name in going or name in ALWAYS_ON]
