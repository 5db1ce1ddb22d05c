"""A real `oca serve --upstream` in front of an upstream that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.oca.running import Oca, serving
from tests.oca.through.upstreams import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """On a free port, with nothing on it."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def well() -> Iterator[Upstream]:
    """The upstream behind `oca`, that never fails."""
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def oca(tmp_path_factory: pytest.TempPathFactory, well: Upstream) -> Iterator[Oca]:
    """One proxy for all tests of a file that leave it as it was; each asks for names of its own."""
    folder = tmp_path_factory.mktemp("proxy")
    options = ["--store", str(folder / "store"), "--upstream", well.url]
    with serving(folder, *options, "--listen", "127.0.0.1:0", "--workers", "1") as proxy:
        yield proxy


@pytest.fixture
def proxy(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Oca]]:
    """Starts a proxy; arguments are more of its options."""
    with ExitStack() as stack:

        def start(*args: str, workers: int = 1, store: Path | None = None) -> Oca:
            options = ["--store", str(store or tmp_path / "store"), "--upstream", upstream.url]
            options += ["--listen", "127.0.0.1:0", "--workers", str(workers), *args]
            return stack.enter_context(serving(tmp_path, *options))

        yield start
