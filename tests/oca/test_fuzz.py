"""Any bytes, whole and byte by byte, through head, body and planner: an answer, never a fault.

Seconds in `make test`, an hour in `make soak`. A failure prints the bytes and how to replay them.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import time
from collections.abc import Set
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from oca.files import FolderFiles
from oca.http.body import Chunked, Sized
from oca.http.errors import RequestError
from oca.http.head import HEAD_BYTES_MAX, Fields, Line, take_head
from oca.http.respond import ALLOW
from oca.opening import Cold
from oca.service import Request, Service

SOAK_S = 3600.0
EXAMPLES = 2_000
EXAMPLES_A_ROUND = 20_000
CONTENT = bytes(range(256)) * 20
STATUSES = {200, 204, 206, 304, 400, 404, 405, 408, 412, 413, 414, 416, 417, 431, 501, 503, 505}

METHODS = st.sampled_from([b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"get", b"G\0T", b"PRI"])
TARGETS = st.sampled_from(
    [
        b"/f",
        b"/f?x=1",
        b"/f/range/3-9",
        b"/none",
        b"/",
        b"*",
        b"http://h/f",
        b"/../f",
        b"/%66",
        b"/f;URISigningPackage=a.b.c/x",
        b"//f",
        b"/\xff",
        b"/f%00",
        b"/f#a",
        b"/%zz",
        b"",
    ]
)
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/11", b""])
NAMES = st.sampled_from(
    [
        b"Host",
        b"Range",
        b"If-Range",
        b"If-None-Match",
        b"If-Match",
        b"If-Modified-Since",
        b"If-Unmodified-Since",
        b"Connection",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Expect",
        b"Origin",
        b"CMCD-Request",
        b"Cookie",
        b"Authorization",
        b"X y",
        b"",
        b"Access-Control-",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            b"h",
            b"bytes=0-9",
            b"bytes=-5",
            b"bytes=5-",
            b"bytes=0-1,3-4,9-",
            b"bytes=9-1",
            b"*",
            b'"a"',
            b'W/"a"',
            b"chunked",
            b"gzip, chunked",
            b"close",
            b"keep-alive",
            b"0",
            b"5",
            b"007",
            b"-1",
            b"9" * 25,
            b"100-continue",
            b"Sat, 01 Jan 2000 00:00:00 GMT",
            b"a\0b",
            b"bytes=" + b"0-0," * 300,
            b"x\r",
            b" a",
            b"a,,b",
            b"\xe9",
            b"mtp=1,rtp=5",
        ]
    ),
    st.binary(max_size=20),
)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n ", b""])


@st.composite
def near_requests(draw: st.DrawFn) -> bytes:
    """Requests that are almost right, with a body or rubbish behind them, and a flipped byte."""
    raw = b" ".join((draw(METHODS), draw(TARGETS), draw(VERSIONS))) + draw(ENDS)
    for _ in range(draw(st.integers(0, 6))):
        raw += draw(NAMES) + draw(st.sampled_from([b": ", b":", b" :", b""])) + draw(VALUES)
        raw += draw(ENDS)
    raw += draw(ENDS) + draw(
        st.sampled_from([b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;x\r\nhel", b"zz\r\n", raw])
    )
    if raw and draw(st.booleans()):
        at = draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
    return raw


ANYTHING = st.one_of(near_requests(), near_requests(), st.binary(max_size=400))


def read(raw: bytes, step: int) -> tuple[Line, Fields, int] | int | None:
    """What the parser says when `step` bytes come at a time."""
    for end in range(step, len(raw) + step, step):
        try:
            taken = take_head(raw[:end])
        except RequestError as exc:
            return exc.status
        if taken is not None:
            return taken
    return None


def drain(fields: Fields, data: bytes, step: int) -> tuple[int, int]:
    """(bytes of body taken, status of a refusal or 0); the body is fed as the connection does."""
    try:
        body = Chunked() if fields.chunked else Sized(fields.length)
        for start in range(0, len(data), step):
            end = body.feed(data[start : start + step])
            if end is not None:
                return start + end, 0
    except RequestError as exc:
        return -1, exc.status
    return -1, 0


def check(service: Service, raw: bytes) -> None:
    """The claims about one input."""
    whole, bytewise = read(raw, len(raw) or 1), read(raw, 1)
    if isinstance(whole, int):
        assert whole in STATUSES
        assert isinstance(bytewise, int), "refused whole, accepted byte by byte"
        return
    assert whole == bytewise, "whole and byte by byte differ"
    if whole is None:
        return
    line, fields, used = whole
    assert used <= min(len(raw), HEAD_BYTES_MAX)
    if fields.length or fields.chunked:
        rest = raw[used:]
        taken = drain(fields, rest, len(rest) or 1)
        assert taken == drain(fields, rest, 1)
        assert taken[0] <= len(rest)
    check_answer(service, raw[: raw.find(b"\r\n")], line, fields)


def check_answer(
    service: Service, raw_line: bytes, line: Line, fields: Fields, absent: Set[bytes] = frozenset()
) -> None:
    """The plan is a well-formed head and exactly the bytes that it promises."""
    request = Request(
        raw_line=raw_line,
        line=line,
        fields=fields,
        inside=True,
        close=fields.close,
        date=b"Sat, 01 Jan 2000 00:00:00 GMT",
        now_s=1e9,
        tick_s=1e6,
        absent=absent,
    )
    try:
        plan = service.answer(request).plan
    except Cold as cold:
        found = cold.work()(1e6)
        absent = request.absent if found else request.absent | {cold.key}
        check_answer(service, raw_line, line, fields, absent)
        return
    assert plan.status in STATUSES
    lines = plan.head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d" % plan.status) and lines[-2:] == [b"", b""]
    assert all(b":" in text and b"\n" not in text and b"\r" not in text for text in lines[1:-2])
    sent = sum(part[1] if isinstance(part, tuple) else len(part) for part in plan.parts)
    assert all(
        part[0] >= 0 and part[0] + part[1] <= len(CONTENT)
        for part in plan.parts
        if isinstance(part, tuple)
    )
    promised = [text for text in lines if text.lower().startswith(b"content-length:")]
    if line.method != "HEAD" and promised:
        assert sent == int(promised[0].partition(b":")[2])
    else:
        assert sent == 0
    assert plan.status != 405 or ALLOW.strip() in plan.head


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    root = tmp_path_factory.mktemp("www")
    (root / "f").write_bytes(CONTENT)
    return Service(FolderFiles(str(root), 64, 1 << 20), b"boundary")


RULES = settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(RULES, max_examples=EXAMPLES)
@given(raw=ANYTHING)
def test_no_bytes_make_a_fault_or_two_answers(service: Service, raw: bytes) -> None:
    """Fed whole and byte by byte: the same head or a refusal; a plan that keeps its promises."""
    check(service, raw)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 600)
def test_no_bytes_make_a_fault_in_an_hour(service: Service, tmp_path: Path) -> None:
    """The same for SOAK_S seconds (OCA_FUZZ_S changes that): guided by coverage where atheris is
    installed, else by Hypothesis with other seeds."""
    fuzz_s = float(os.environ.get("OCA_FUZZ_S", SOAK_S))
    if importlib.util.find_spec("atheris") is None:
        with_other_seeds(service, fuzz_s)
        return
    command = [sys.executable, "-m", "tests.oca.fuzz_head", str(tmp_path / "corpus")]
    flags = [f"-max_total_time={fuzz_s:.0f}", f"-artifact_prefix={tmp_path}/"]
    flags += ["-print_final_stats=1"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    print("\n".join(done.stderr.splitlines()[-40:]))
    found = [path.read_bytes() for path in tmp_path.glob("*-*") if path.is_file()]
    assert done.returncode == 0 and not found, f"replay with check(service, …): {found}"


def with_other_seeds(service: Service, fuzz_s: float) -> None:
    end_s = time.monotonic() + fuzz_s
    rounds = 0
    while time.monotonic() < end_s:
        start = random.SystemRandom().getrandbits(32)
        print(f"seed {start}")

        @seed(start)
        @settings(RULES, max_examples=EXAMPLES_A_ROUND)
        @given(raw=ANYTHING)
        def one_round(raw: bytes) -> None:
            if time.monotonic() < end_s:
                check(service, raw)

        one_round()
        rounds += 1
    assert rounds


def test_the_fuzz_sees_a_fault(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that judges a head by what comes behind it in the same packet is found."""
    strict = take_head

    def hasty(raw: bytes) -> tuple[Line, Fields, int] | None:
        if raw.endswith(b"\0"):
            raise RequestError(400, "too hasty")
        return strict(raw)

    raw = b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n\0"
    check(service, raw)
    monkeypatch.setattr(f"{__name__}.take_head", hasty)
    with pytest.raises(AssertionError, match="accepted byte by byte"):
        check(service, raw)
