"""A server and a player over a path of a known rate; run in a network namespace of its own.

    unshare --net python -m tests.oca.shaped FOLDER KBIT BYTES TIMES

Shapes loopback (tbf, Ethernet's packet size), serves a file from FOLDER, fetches it over one
connection with CMCD, and prints a JSON list: what CMSD-Dynamic said before each answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.oca.running import read_answer, serving

PAUSE_S = 0.2


def main(folder: str, kbit: str, count_bytes: str, times: str) -> None:
    """Set up, fetch, print."""
    for command in (
        "ip link set lo mtu 1500 up",
        f"tc qdisc add dev lo root tbf rate {kbit}kbit burst 16kb latency 100ms",
    ):
        subprocess.run(command.split(), check=True)
    top = Path(folder)
    (top / "www").mkdir()
    (top / "www" / "x").write_bytes(bytes(int(count_bytes)))
    args = ("--root", str(top / "www"), "--listen", "127.0.0.1:0", "--workers", "1")
    told = []
    with serving(top, *args) as oca, oca.connect() as sock:
        stream = sock.makefile("rb")
        for turn in range(int(times)):
            head = f"GET /x HTTP/1.1\r\nHost: h\r\nCMCD-Request: bl={turn}\r\n\r\n"
            sock.sendall(head.encode())
            told.append(read_answer(stream).fields["cmsd-dynamic"])
            time.sleep(PAUSE_S)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
