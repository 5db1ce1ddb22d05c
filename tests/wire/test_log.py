"""What strangers cause in a log is bounded, and says no more of a person than the network."""

from __future__ import annotations

import pytest

from wire import log


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("", "?"),
        (None, "?"),
        ("pipe", "?"),
    ],
)
def test_a_log_says_the_network_and_not_the_person(address: str | None, said: str) -> None:
    """/24 and /48; what is no address is not repeated."""
    assert log.client_prefix(address) == said


def test_a_flood_is_some_lines_and_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 in a second: the first few, then how many were left out; the next second is new."""
    found: list[dict[str, object]] = []

    class Book:
        def warning(self, event: str, **fields: object) -> None:
            found.append({"event": event, **fields})

    monkeypatch.setattr(log, "get", lambda _name: Book())
    now_s = [5.0]
    bounded = log.Bounded("x", 3, lambda: now_s[0])
    assert [bounded.warning("refused", i=i) for i in range(1000)].count(True) == 3
    now_s[0] = 6.5
    assert bounded.warning("refused", i="next")
    bounded.flush()
    assert [line.get("i") for line in found] == [0, 1, 2, None, "next"]
    assert found[3] == {"event": "lines left out", "count": 997, "most_per_s": 3}
