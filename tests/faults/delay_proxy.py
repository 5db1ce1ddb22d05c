"""A TCP proxy that delays every byte, both ways: distance where the kernel has no `netem`.

python -m tests.faults.delay_proxy LISTEN_HOST:PORT TARGET_HOST:PORT DELAY_S
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

CHUNK_BYTES = 65_536
HELD_MAX = 256
"""Chunks under way in one direction: a bound on memory, far above any delay × rate here."""


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Everything that comes, so much later, in order; then the end."""
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_MAX)

    async def release() -> None:
        while True:
            due_s, data = await held.get()
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            if not data:
                return
            writer.write(data)
            await writer.drain()

    out = asyncio.create_task(release())
    try:
        data = b"-"
        while data and not out.done():
            data = await reader.read(CHUNK_BYTES)
            await held.put((loop.time() + delay_s, data))
        await out
    except OSError:
        out.cancel()
    finally:
        with contextlib.suppress(OSError):
            writer.close()


async def main(listen: str, target: str, delay_s: float) -> None:
    """For ever."""
    host, _, port = target.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, back, delay_s), carry(there, writer, delay_s))

    own, _, own_port = listen.rpartition(":")
    server = await asyncio.start_server(serve, own, int(own_port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
