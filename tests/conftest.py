"""A test that cannot run where it stands fails, unless tests/may_skip.txt says why it may not."""

from __future__ import annotations

from collections.abc import Generator
from fnmatch import fnmatch
from pathlib import Path

import pytest


def patterns(text: str) -> list[str]:
    """The patterns of test ids in the list."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


MAY_SKIP = patterns((Path(__file__).parent / "may_skip.txt").read_text())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of a test that is not on the list into a failure."""
    report = yield
    if report.skipped and not any(fnmatch(item.nodeid, pattern) for pattern in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped, and not in tests/may_skip.txt: {report.longrepr}"
    return report
