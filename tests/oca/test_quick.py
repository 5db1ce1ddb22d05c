"""What is answered from memory of an earlier answer is the very answer of the long way."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.oca.running import Oca, read_answer, serving

SIZES = {"small.m4s": 4000, "middle.m4s": 60_000, "big.mp4": 1_500_000}


@pytest.fixture(scope="module")
def oca(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    top = tmp_path_factory.mktemp("quick")
    root = top / "root"
    root.mkdir()
    for name, size in SIZES.items():
        (root / name).write_bytes(random.Random(name).randbytes(size))
    args = ("--root", str(root), "--listen", "127.0.0.1:0", "--workers", "1")
    with serving(top, *args) as running:
        yield running, root


def ask(oca: Oca, name: str, line: str, again: bool) -> tuple[int, dict[str, str], bytes]:
    """One answer; `again` asks for the plain file first on the same connection, so it is hot. The
    long way is taken where it is not: by a harmless header that only the long way reads."""
    with oca.connect() as sock:
        stream = sock.makefile("rb")
        slow = "" if again else "If-Match: *\r\n"
        if again:
            sock.sendall(f"GET /{name} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 1)
            read_answer(stream)
        sock.sendall(f"GET /{name} HTTP/1.1\r\nHost: h\r\n{line}{slow}\r\n".encode())
        answer = read_answer(stream)
        fields = {k: v for k, v in answer.fields.items() if k != "date"}
        return answer.status, fields, answer.body


LINES = (
    "",
    *(f"Range: bytes={spec}\r\n" for spec in ("0-0", "0-99", "5-", "3999-3999", "3999-9999999")),
    *(
        f"Range: bytes={spec}\r\n"
        for spec in ("4000-", "9-3", "-5", "a-b", "0-1,5-6", "1-2-3", "-")
    ),
    "Range: bytes=0-5 \r\n",
    "range: bytes=2-7\r\n",
    "RANGE: bytes=2-7\r\n",
    "Range: bytes=99999999999999999999-\r\n",
    "Range: bytes=0-5\r\nRange: bytes=7-9\r\n",
    'Range: bytes=0-5\r\nIf-Range: "other"\r\n',
    "Accept: */*\r\nRange: bytes=10-20\r\nX-Other: 1\r\n",
)


@pytest.mark.parametrize("name", SIZES)
def test_hot_answers_are_the_answers_of_the_long_way(oca: tuple[Oca, Path], name: str) -> None:
    """Status, fields and bytes are equal for plain GETs and for every shape of Range."""
    running, root = oca
    content = (root / name).read_bytes()
    for line in LINES:
        hot, long = ask(running, name, line, True), ask(running, name, line, False)
        assert hot == long, line
        found = re.search(r"bytes (\d+)-(\d+)/", hot[1].get("content-range", ""))
        if hot[0] == 206 and found:
            assert hot[2] == content[int(found[1]) : int(found[2]) + 1]


def test_pipelined_hot_requests_are_answered_in_order(oca: tuple[Oca, Path]) -> None:
    """Two hundred in one write, whole files and ranges mixed, sizes mixed."""
    running, root = oca
    rng = random.Random(7)
    asked = []
    for _ in range(200):
        name = rng.choice(list(SIZES))
        start = rng.randrange(3000)
        asked.append((name, None if rng.random() < 0.5 else (start, start + 900)))
    heads = [
        f"GET /{name} HTTP/1.1\r\nHost: h\r\n"
        + ("" if span is None else f"Range: bytes={span[0]}-{span[1]}\r\n")
        + "\r\n"
        for name, span in asked
    ]
    with running.connect() as sock:
        stream = sock.makefile("rb")
        sent = 0
        for i, (name, span) in enumerate(asked):
            while sent < len(heads) and sent < i + 20:
                sock.sendall(heads[sent].encode())
                sent += 1
            content = (root / name).read_bytes()
            body = read_answer(stream).body
            assert body == (content if span is None else content[span[0] : span[1] + 1])


KINDS = (
    b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: h\r\nRange: bytes=5-9\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0, -3\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: h\r\nRange: bytes=99999999-\r\n\r\n",
    b"GET /%b HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\n\r\n",
    b'GET /%b HTTP/1.1\r\nHost: h\r\nIf-Match: "x"\r\n\r\n',
    b"GET /%b/gone HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /%b/range/10-19 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nHEAD /%b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS /%b HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /%b HTTP/1.0\r\nConnection: keep-alive\r\nRange: bytes=3-4\r\n\r\n",
    b"POST /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\nGET / HTTP/1.1",
    b"GET /%b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nRange: bytes=7-9\r\n\r\n"
    b"5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
)


def pieces_of(raw: bytes, rng: random.Random) -> list[bytes]:
    """Whole, byte by byte, or anyhow."""
    most = rng.choice([len(raw), 1, 7, 100, 300])
    cuts = [0]
    while cuts[-1] < len(raw):
        cuts.append(cuts[-1] + rng.randint(1, most))
    return [raw[a:b] for a, b in pairwise(cuts)]


def test_answers_do_not_depend_on_packets_or_neighbours(oca: tuple[Oca, Path]) -> None:
    """Requests of every kind, in any order and in any pieces, get what each gets alone."""
    running, _ = oca
    rng = random.Random(11)
    asked = [(kind % name, b"HEAD" in kind) for kind in KINDS for name in (b"small.m4s",)]
    asked += [(kind % b"middle.m4s", False) for kind in KINDS[:3]]

    def told(picked: list[tuple[bytes, bool]]) -> list[tuple[int, dict[str, str], bytes]]:
        with running.connect() as sock:
            stream = sock.makefile("rb")
            for piece in pieces_of(b"".join(raw for raw, _ in picked), rng):
                sock.sendall(piece)
            answers = [read_answer(stream, "HEAD" if head else "GET") for _, head in picked]
        for answer in answers:
            del answer.fields["date"]
        return [(answer.status, answer.fields, answer.body) for answer in answers]

    alone = {pair: told([pair])[0] for pair in asked}
    for _ in range(60):
        picked = rng.choices(asked, k=rng.choice([2, 3, 6]))
        assert told(picked) == [alone[pair] for pair in picked]
