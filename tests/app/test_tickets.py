"""Tickets: only their own process knows them, and each belongs to one tab."""

import pytest

from app.shared.tickets import Tickets


@pytest.mark.parametrize("tab", ["m06bwn2azz", "with.dots", ""])
def test_a_ticket_tells_its_tab(tab: str) -> None:
    tickets = Tickets()
    assert tickets.read(tickets.issue(tab)) == tab
    assert Tickets().read(tickets.issue(tab)) is None


def test_what_was_never_issued_tells_nothing() -> None:
    tickets = Tickets()
    tab, _, seal = tickets.issue("a").rpartition(".")
    for ticket in ("", ".", tab, seal, f"b.{seal}", f"{tab}.{seal[:-1]}", f"{tab}.{seal}0", "ä.ä"):
        assert tickets.read(ticket) is None
