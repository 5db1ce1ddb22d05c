"""Give a worker its way to what is not stored: nothing, a redirect, or the fetcher.

An adapter: it opens the channel on the worker's loop.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from oca.poller import Loop
from oca.service import Service
from oca.through.channel import Channel
from oca.through.knobs import Through
from oca.through.messages import DOOR
from oca.through.missing import Missing
from oca.through.redirect import Redirect
from oca.through.shelf import ChunkShelf


def attach(
    service: Service,
    knobs: Through,
    folder: str,
    run_dir: Path,
    name: str,
    boundary: bytes,
    open_files: int,
) -> None:
    """Set what `service` does with what is missing; call it on the worker's running loop.

    `folder` is the region's, `name` this appliance's, as in Cache-Status.

    Raises TypeError on another loop than oca.poller's.
    """
    if knobs.policy == "redirect":
        service.missing = Redirect(knobs.redirect_url, name)
    if knobs.policy != "fetch":
        return
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise TypeError("a channel runs on oca.poller.Loop")
    shelf = ChunkShelf(folder, open_files)
    channel = Channel(str(run_dir / DOOR), loop.poller, loop, shelf)
    service.missing = Missing(channel, name, boundary, knobs.ahead_chunks)
