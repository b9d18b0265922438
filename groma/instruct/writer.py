"""Who writes conversations: a model elsewhere, or templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from groma.instruct.material import Material


@dataclass(frozen=True, slots=True)
class Complaint:
    """A draft that was refused.

    Attributes:
        draft: what was written.
        reasons: what is wrong with it, one sentence each.
    """

    draft: str
    reasons: tuple[str, ...]


class Writer(Protocol):
    """Writes drafts; may be used from several threads."""

    name: str
    """What it is called in records."""

    def write(self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()) -> str:
        """Write a conversation.

        Args:
            material: what to write about.
            rounds: how many questions.
            complaints: about its earlier drafts, oldest first.

        Returns:
            What `groma.instruct.notation.read_draft` reads, if all goes well.
        """
        ...

    def stop(self) -> None:
        """Begin nothing more; `write` may raise `EndpointError` from now on."""
        ...
