"""Judge a source's answer before a byte of it is taken (RFC 9110 §14, §15). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oca.agent.sources import Fault
from wire.catalogue import File
from wire.errors import OcaError

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})\Z")
_BY_STATUS = {
    401: Fault.REFUSED,
    403: Fault.REFUSED,
    404: Fault.NOT_HELD,
    410: Fault.NOT_HELD,
    416: Fault.WRONG,  # its file ends before ours does
    429: Fault.BUSY,
}


class SourceFault(OcaError):
    """A source failed in the way that `fault` names; `detail` is for the log."""

    def __init__(self, fault: Fault, detail: str) -> None:
        """One fault of one source at one file."""
        self.fault, self.detail = fault, detail
        super().__init__(f"{fault.value}: {detail}")


def range_headers(file: File, offset: int) -> dict[str, str]:
    """The headers that ask for a file from `offset` on, and for all of it should it differ."""
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": file.etag}
    return headers


def judge(status: int, headers: Mapping[str, str], file: File, offset: int) -> int:
    """The offset at which the answer's body begins: `offset`, or 0 for a whole file.

    Raises SourceFault when it is not an answer to what was asked, or of another length than the
    catalogue says.
    """
    if status not in (200, 206):
        fault = _BY_STATUS.get(status, Fault.BUSY if status >= 500 else Fault.PROTOCOL)
        if fault is Fault.NOT_HELD and "Retry-After" in headers:
            fault = Fault.COMING
        raise SourceFault(fault, f"status {status}")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise SourceFault(Fault.PROTOCOL, "the body is encoded")
    etag = headers.get("ETag", file.etag)
    if etag != file.etag:
        raise SourceFault(Fault.WRONG, f"its ETag is {etag[:80]}, the catalogue's is {file.etag}")
    start = _start(headers, file, offset) if status == 206 else 0
    length = headers.get("Content-Length")
    if length is not None and length != str(file.bytes - start):
        raise SourceFault(Fault.WRONG, f"it announces {length[:20]} of {file.bytes - start} bytes")
    return start


def _start(headers: Mapping[str, str], file: File, offset: int) -> int:
    text = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.match(text)
    if match is None or not offset:
        raise SourceFault(Fault.PROTOCOL, f"206 with Content-Range {text[:80]!r}")
    start, end, total = (int(group) for group in match.groups())
    if total != file.bytes:
        raise SourceFault(Fault.WRONG, f"its file has {total} bytes, not {file.bytes}")
    if start != offset or end != total - 1:
        raise SourceFault(Fault.PROTOCOL, f"{text[:80]} is not the range that was asked for")
    return start


def suspects(writers: Sequence[tuple[int, str]], good_bytes: int) -> list[str]:
    """Who wrote beyond `good_bytes`, given (offset where it began, source) in order of writing."""
    ends = [begin for begin, _source in writers[1:]]
    named = [
        source
        for (_begin, source), end in zip(writers, [*ends, None], strict=True)
        if end is None or end > good_bytes
    ]
    return list(dict.fromkeys(named))
