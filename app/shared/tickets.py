"""How a page proves that it was loaded again in the browser tab that had a talk."""

import hmac
import secrets


class Tickets:
    """Tickets of browser tabs; they cannot be guessed, and hold as long as this process runs."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, tab: str) -> str:
        """The ticket of a tab.

        Args:
            tab: its id.
        """
        seal = hmac.digest(self._key, tab.encode(), "sha256").hex()
        return f"{tab}.{seal}"

    def read(self, ticket: str) -> str | None:
        """The id of the tab that a ticket was issued for, or None if it was never issued."""
        tab = ticket.rpartition(".")[0]
        is_ours = ticket.isascii() and hmac.compare_digest(self.issue(tab), ticket)
        return tab if is_ours else None
