"""`oca simulate`: what a policy would have missed, from a trace of real requests."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from oca.cache.registry import DEFAULT, POLICIES, make
from oca.cache.replay import Outcome, Replay
from oca.cache.trace import LINE_BYTES_MAX, Request, batches, is_oracle, oracle_rows, text_rows
from wire.errors import WireError

ALL = "all"
BATCH_ROWS = 20_000
BLOCK_BYTES = 1 << 20
PACKED = (".gz", ".zst", ".xz", ".bz2")
UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
EXAMPLES = """
\b
Examples:
  oca simulate requests.txt --bytes 10GiB
  oca simulate cdn.oracleGeneral.bin --policy lru --policy sieve --bytes 1GiB --bytes 4GiB
  oca simulate requests.txt --policy all --bytes 10GiB --chunk-bytes 1MiB
"""


def size(text: str) -> int:
    """Bytes of 1000000, 512MiB or 2g (binary units); raises BadParameter for anything else."""
    plain = text.strip().lower().removesuffix("ib").removesuffix("b")
    number, unit = (plain[:-1], plain[-1:]) if plain[-1:].isalpha() else (plain, "")
    if not (number.isdecimal() and number.isascii()) or unit not in UNITS or len(number) > 15:
        raise click.BadParameter(f"{text!r} is no size: say bytes, or 512KiB, 10MiB, 4GiB")
    size_bytes = int(number) << UNITS[unit]
    if size_bytes < 1:
        raise click.BadParameter("a cache of 0 bytes holds nothing")
    return size_bytes


def policy_name(text: str) -> str:
    """A policy as it was typed, in any spelling (S3-FIFO, s3fifo); raises BadParameter if none."""
    if _plain(text) not in _plain_names():
        raise click.BadParameter(f"{text!r} is none of {', '.join(POLICIES)}, {ALL}")
    return text


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _plain_names() -> dict[str, str]:
    return {_plain(name): name for name in (*POLICIES, ALL)}


@click.command(epilog=EXAMPLES)
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "names",
    type=policy_name,
    metavar="NAME",
    multiple=True,
    default=[DEFAULT],
    show_default=True,
    help=f"One of {', '.join(POLICIES)}; `all` for a table of them. Can be repeated.",
)
@click.option(
    "--bytes",
    "sizes",
    type=size,
    metavar="SIZE",
    multiple=True,
    required=True,
    help="Size of the cache, such as 4GiB; repeat it for several sizes in one pass.",
)
@click.option(
    "--chunk-bytes",
    type=size,
    metavar="SIZE",
    default=None,
    help="Replay objects as aligned chunks of this size, as an appliance caches them.",
)
@click.option(
    "--second-request", is_flag=True, help="Store nothing before it is asked for a second time."
)
def simulate(
    trace: Path,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    chunk_bytes: int | None,
    second_request: bool,
) -> None:
    """Replay TRACE against cache policies, and print what they would have missed.

    One JSON line per policy and size: policy, bytes, requests, object_miss_ratio, byte_miss_ratio.
    TRACE is in libCacheSim's binary format if its name ends in .oracleGeneral.bin, and otherwise
    text with lines of `time id bytes`; a pipe will do (/dev/stdin). Nothing is fetched
    or stored; it is read once.
    """
    table = any(_plain(name) == ALL for name in names)
    replays = [
        Replay(
            name + ("+second-request" if second_request else ""),
            make(_plain_names()[_plain(name)], capacity_bytes, second_request=second_request),
            chunk_bytes or 0,
        )
        for name in (tuple(POLICIES) if table else names)
        for capacity_bytes in sizes
    ]
    _run(trace, replays)
    outcomes = [replay.outcome() for replay in replays]
    if table:
        _print_table(outcomes)
    else:
        for outcome in outcomes:
            click.echo(json.dumps(outcome.as_dict()))


def _run(trace: Path, replays: Sequence[Replay]) -> None:
    """Read the trace once, and feed every replay, with a bar where a person watches."""
    from rich.console import Console  # here, for every worker of `oca` imports this module
    from rich.progress import Progress

    console = Console(stderr=True)
    with (
        trace.open("rb") as file,
        Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        task = progress.add_task(trace.name, total=trace.stat().st_size or None)
        for batch in batches(_rows(file, trace.name), BATCH_ROWS):
            for replay in replays:
                replay.feed(batch)
            if file.seekable():  # a pipe does not know how far it is
                progress.update(task, completed=file.tell())
    if not replays[0].requests:
        raise WireError(trace.name, "", "holds no requests")


def _rows(file: BinaryIO, name: str) -> Iterator[Request]:
    """Rows of an open trace. Raises WireError for a packed file, or at the first bad row."""
    if name.endswith(PACKED):
        raise WireError(name, "", "is compressed", hint="unpack it first")
    if is_oracle(name):
        return oracle_rows(iter(lambda: file.read(BLOCK_BYTES), b""), name)
    return text_rows(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""), name)


def _print_table(outcomes: Sequence[Outcome]) -> None:
    """Byte miss ratio, and object miss ratio below it in brackets, per policy and size."""
    from rich.console import Console
    from rich.table import Table

    sizes = sorted({outcome.bytes for outcome in outcomes})
    table = Table(title="byte miss ratio (object miss ratio)")
    table.add_column("policy")
    for size_bytes in sizes:
        table.add_column(_size_text(size_bytes), justify="right")
    for name in dict.fromkeys(outcome.policy for outcome in outcomes):
        cells = {
            outcome.bytes: f"{outcome.byte_miss_ratio:.4f} ({outcome.object_miss_ratio:.4f})"
            for outcome in outcomes
            if outcome.policy == name
        }
        table.add_row(name, *(cells[size_bytes] for size_bytes in sizes))
    Console(width=None if sys.stdout.isatty() else 30 + 20 * len(sizes)).print(table)


def _size_text(size_bytes: int) -> str:
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size_bytes >= 1 << shift and size_bytes % (1 << shift) == 0:
            return f"{size_bytes >> shift} {unit}"
    return f"{size_bytes:,} B"
