"""The operator's tables of AS numbers and places, read from CSV in a process of their own.

`python -m steering.networks asn|place FILE` writes one table to stdout, at low priority: half a
million rows would hold up the loop for seconds.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import sys
from pathlib import Path

from steering.places import (
    NetworkTable,
    Tables,
    asn_table,
    asn_table_of,
    place_table,
    place_table_of,
)
from wire.errors import WireError
from wire.log import get

NICENESS = 10
READ_S_MAX = 120.0  # half a million rows take 4 s, on a busy machine ten times as long
_READ = {"asn": asn_table, "place": place_table}
_LOADED = {"asn": asn_table_of, "place": place_table_of}
_log = get("networks")


async def read_networks(asn_file: Path | None, place_file: Path | None) -> Tables:
    """Both tables, where there are any. One that cannot be read is left out, and said so: a
    decision does without."""
    asn = await _read("asn", asn_file)
    return Tables(asn, await _read("place", place_file))


async def _read(kind: str, file: Path | None) -> NetworkTable | None:
    if file is None:
        return None
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "steering.networks", kind, str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        made, why = await asyncio.wait_for(process.communicate(), READ_S_MAX)
    except TimeoutError:
        made, why = b"", b"it takes too long to read"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        _log.error("a table of networks is not used", file=str(file), why=why.decode().strip())
        return None
    table = _LOADED[kind](made)
    _log.info("a table of networks is used", file=str(file), networks=len(table))
    return table


def main() -> None:
    """Read one table; says on stderr what is wrong, with exit code 1."""
    os.nice(NICENESS)
    kind, path = sys.argv[1:]
    try:
        # closed by the TextIOWrapper around it
        raw = gzip.open(path) if path.endswith(".gz") else open(path, "rb")  # noqa: SIM115
        with io.TextIOWrapper(raw, encoding="utf-8", newline="") as lines:
            made = _READ[kind](lines, path).to_bytes()
    except WireError as exc:
        sys.exit(str(exc))
    except (OSError, EOFError, ValueError) as exc:
        sys.exit(f"{path}: cannot be read: {exc}")
    sys.stdout.buffer.write(made)


if __name__ == "__main__":
    main()
