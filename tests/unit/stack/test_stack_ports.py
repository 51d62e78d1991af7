"""Two stacks that start at once never choose one port."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from learnloop.errors import InvalidInput
from learnloop.stack.ports import DEFAULTS, Ports


@pytest.fixture
def mine() -> dict[str, int]:
    """Ports that nobody else on this machine uses: the defaults may be a running stack's."""
    with closing(Ports(dict.fromkeys(DEFAULTS, 0))) as ports:
        chosen = dict(ports.chosen)
    return chosen


def test_ports_are_remembered_and_nobody_elses_while_they_are_held(mine: dict[str, int]) -> None:
    with closing(Ports(mine)) as first:
        assert first.chosen == mine  # though nobody listens there
        with closing(Ports(mine)) as second:
            assert set(second.chosen.values()).isdisjoint(mine.values())
    with closing(Ports(mine)) as again:
        assert again.chosen == mine


def test_a_port_where_somebody_listens_is_left_to_them(mine: dict[str, int]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", mine["serving"]))
        other.listen()
        with closing(Ports(mine)) as ports:
            assert ports.chosen == {**mine, "serving": ports.chosen["serving"]}
            assert ports.chosen["serving"] not in mine.values()


def test_a_port_that_was_asked_for_is_that_one_or_an_error(
    mine: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNLOOP_PORT", str(mine["api"]))
    with closing(Ports({})) as ports:
        assert ports.chosen["gateway"] == mine["api"]
        with pytest.raises(InvalidInput, match=f"port {mine['api']} of 127.0.0.1 is in use"):
            Ports({})
    for wrong in ("0", "65536", "http", "-1"):
        monkeypatch.setenv("LEARNLOOP_PORT", wrong)
        with pytest.raises(InvalidInput, match="must be a port number"):
            Ports({})
