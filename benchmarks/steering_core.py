"""What a decision costs by itself: no socket, one core, a world of full size. Prints JSON."""

from __future__ import annotations

import argparse
import gc
import ipaddress
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.steering_rig import DATA, FreshTokens, fill_view, pems
from benchmarks.steering_world import EPOCH, FULL, LADDER, Size, box_keys, fleet, prefixes, titles
from steering.address import Client, parse_client
from steering.decide import Question, decide
from steering.engine import Engine, Moment
from steering.silence import Silence
from steering.titles import table_of
from steering.tokens import TokenMint, TokenRules
from steering.view import View
from wire.jose import proven, sign
from wire.keys import VerifyKey, new_private_pem, parse_private_key

QUESTIONS, FRESH = 20_000, 4_000
HOT_TITLES = 1_500
NOW_S = 50.0
RULES = TokenRules("steering", 900.0, 21_600.0)


def clients(rng: random.Random, count: int) -> list[Client]:
    """Addresses in prefixes of the whole Internet, every prefix as likely."""
    known = [prefix for number, (prefix, _) in enumerate(prefixes(DATA)) if number % 20 == 0]
    found = []
    for prefix in rng.choices(known, k=count):
        network = ipaddress.ip_network(prefix)
        found.append(parse_client(str(network[rng.randrange(min(network.num_addresses, 2**32))])))
    return found


def rate(work: Callable[[], None], count: int, rounds: int) -> list[float]:
    """How many a second, round by round."""
    found = []
    for _ in range(rounds):
        begun_s = time.perf_counter()
        work()
        found.append(count / (time.perf_counter() - begun_s))
    return found


class Core:
    """The engine of a replica, and questions for it."""

    def __init__(self, size: Size) -> None:
        """Takes half a minute at full size."""
        rng = random.Random(1)
        self.view = View(fleet(size, box_keys(pems())), Silence())
        self.view.set_epoch(EPOCH)
        fill_view(self.view, size, "independent", 0.0)
        self.key = parse_private_key(new_private_pem(), "k1", "key")
        table = table_of(titles(size))
        self.engine = Engine(self.view, TokenMint(self.key, RULES))
        self.fresh = Engine(self.view, FreshTokens(self.key, RULES))
        for engine in (self.engine, self.fresh):
            engine.set_titles(table)
        self.clients = clients(rng, QUESTIONS)
        self.assets = [rng.randrange(size.assets) for _ in self.clients]
        hot = [rng.randrange(size.assets // LADDER) for _ in range(HOT_TITLES)]
        self.hot = [rng.choice(hot) * LADDER + rng.randrange(LADDER) for _ in self.clients]
        gc.collect()
        gc.freeze()

    def locate(self) -> None:
        """The longest prefix alone."""
        table = self.view.snapshot(NOW_S).ranking.table
        for client in self.clients:
            table.chain(client)

    def decide(self) -> None:
        """Locate, rank, filter, choose three."""
        for client, asset in zip(self.clients, self.assets, strict=True):
            question = Question(client, f"t{asset // LADDER}", (asset,), 3)
            decide(question, self.view.snapshot(NOW_S))

    def answer(self, engine: Engine, assets: Sequence[int]) -> None:
        """Signed URLs, as the JSON surface gives them."""
        at = Moment(NOW_S, 1e9)
        for client, asset in zip(self.clients, assets, strict=False):
            title, numbers = engine.what(asset, None)
            engine.steer(client, title, numbers, at)

    def signing_us(self) -> dict[str, float]:
        """What the curve costs, in microseconds."""
        keys = {"k1": VerifyKey(self.key.alg, self.key.key)}
        text = sign(b"x" * 200, self.key)

        def signs() -> None:
            for _ in range(1000):
                sign(b"x" * 200, self.key)

        def checks() -> None:
            for _ in range(1000):
                proven(text, keys)

        return {
            name: 1e6 / statistics.median(rate(work, 1000, 5))
            for name, work in (("sign", signs), ("verify", checks))
        }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    core = Core(FULL)
    core.answer(core.engine, core.hot)  # every bucket's token is signed once
    fresh = core.hot[:FRESH]
    print(
        json.dumps(
            {
                "locate": rate(core.locate, QUESTIONS, rounds),
                "decide": rate(core.decide, QUESTIONS, rounds),
                "token": rate(lambda: core.answer(core.engine, core.hot), QUESTIONS, rounds),
                "fresh": rate(lambda: core.answer(core.fresh, fresh), FRESH, rounds),
                "titles_signed": core.engine.tokens.signed,
                "prefixes": core.view.prefixes,
                "boxes_per_site": {"exchange": 48, "embedded": 8},
                "curve_us": core.signing_us(),
            }
        )
    )


if __name__ == "__main__":
    main()
