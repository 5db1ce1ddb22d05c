"""The head path under a fuzzer that is guided by coverage (atheris over libFuzzer).

    python -m tests.oca.fuzz_head CORPUS [libFuzzer's flags: -max_total_time=SECONDS, -runs=N]

What is checked of one input is tests.oca.test_fuzz.check: whole and byte by byte, body, plan.
A finding ends with an exit status that is not 0 and a file `crash-…`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["oca", "wire"]):
    from oca.files import FolderFiles
    from oca.service import Service
    from tests.oca import test_fuzz

INPUT_BYTES_MAX = 1024  # byte by byte is quadratic

SEEDS = (
    b"GET /f HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD /f?x=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b'GET /f/range/3-9 HTTP/1.1\r\nHost: h\r\nRange: bytes=0-1,3-4,-5\r\nIf-Range: "a"\r\n\r\n',
    b'GET http://h/f HTTP/1.1\r\nHost: h\r\nIf-None-Match: W/"a", "b"\r\n\r\n',
    b"POST /f HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"GET /f HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\nOrigin: http://o\r\n"
    b"Access-Control-Request-Method: GET\r\n\r\n",
    b"GET /f HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n"
    b"CMCD-Request: mtp=1,rtp=5\r\nCookie: URISigningPackage=a.b.c\r\n\r\n",
)


def words() -> str:
    """libFuzzer's dictionary: what our own generators are made of."""
    lists = (test_fuzz.METHODS, test_fuzz.TARGETS, test_fuzz.VERSIONS, test_fuzz.NAMES)
    found = {word for strategy in lists for word in strategy.elements if 0 < len(word) <= 60}
    found |= {b"\r\n", b"\r\n\r\n", b": ", b"bytes=", b"chunked", b"close", b"100-continue"}
    quoted = ("".join(f"\\x{byte:02x}" for byte in word) for word in sorted(found))
    return "".join(f'"{word}"\n' for word in quoted)


def main() -> None:
    corpus = Path(sys.argv[1])
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    top = Path(tempfile.mkdtemp(prefix="oca-fuzz-"))
    (top / "www").mkdir()
    (top / "www" / "f").write_bytes(test_fuzz.CONTENT)
    (top / "words").write_text(words())
    service = Service(FolderFiles(str(top / "www"), 64, 1 << 20), b"boundary")
    flags = [f"-dict={top / 'words'}", f"-max_len={INPUT_BYTES_MAX}"]
    flags += ["-timeout=5", "-rss_limit_mb=1024"]
    command = [sys.argv[0], *flags, *sys.argv[2:], str(corpus)]
    atheris.Setup(command, lambda raw: test_fuzz.check(service, raw))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
