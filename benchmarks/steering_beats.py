"""10,000 appliances' heartbeats at a steady rate, signed as agents sign them. Prints JSON.

Signed before the clock starts (a signature holds for a minute), so that this process, which shares
the machine, does little but write to sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import uvloop

from benchmarks.steering_world import EPOCH, FULL, fleet
from wire.auth import bearer
from wire.codec import encode
from wire.keys import SigningKey, parse_private_key
from wire.reports import Heartbeat

CONNECTIONS = 50


def requests(keys: list[SigningKey], count: int, seq: int) -> list[bytes]:
    """One heartbeat of each of the first `count` boxes, as bytes on the wire."""
    made, now_s = [], time.time()
    boxes = fleet(FULL, {str(n): key for n, key in enumerate(keys)}).appliances[:count]
    for number, box in enumerate(boxes):
        body = encode(
            Heartbeat(
                appliance=box.id, epoch=EPOCH, boot=1, seq=seq, health=1.0, admit=1.0,
                served_bps=number * 10**6, capacity_bps=box.link_bps, connections=1000,
                inventory_seq=1,
            )
        )  # fmt: skip
        key = keys[number % len(keys)]
        signed = bearer(SigningKey(key.alg, key.key, box.id), "steering", now_s, body)
        head = (
            f"POST /v1/heartbeat HTTP/1.1\r\nHost: s\r\nAuthorization: {signed}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def send(port: int, made: list[bytes], rate: float) -> int:
    """All of them at `rate` a second over a few connections; how many were answered 200."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
    good = 0

    async def one(lane: int) -> None:
        nonlocal good
        reader, writer = streams[lane]
        for number in range(lane, len(made), CONNECTIONS):
            await asyncio.sleep(max(0.0, begun_s + number / rate - time.perf_counter()))
            writer.write(made[number])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            good += head.startswith(b"HTTP/1.1 200")

    begun_s = time.perf_counter()
    await asyncio.gather(*(one(lane) for lane in range(CONNECTIONS)))
    return good


def main() -> None:
    """The command: keys come as PEM texts on stdin, a JSON list; a line on stdin starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seq", type=int, required=True)
    asked = parser.parse_args()
    keys = [parse_private_key(pem.encode(), "k", "key") for pem in json.loads(input())]
    made = requests(keys, asked.count, asked.seq)
    print("ready", flush=True)
    input()
    begun_s = time.perf_counter()
    good = uvloop.run(send(asked.port, made, asked.rate))
    print(json.dumps({"good": good, "seconds": time.perf_counter() - begun_s}))


if __name__ == "__main__":
    main()
