"""What the doctor has to say: findings, and changes that would mend them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from groma.instruction_sets.readers.set_items import Item

Severity = Literal["error", "warning", "note"]
"""An error keeps an item from being learnt, or would teach wrong places; a warning is about what
would be learnt otherwise than it was meant; a note changes nothing that is learnt."""

_Change = Callable[[Item], Item | None]
"""A pure function; None leaves the item out. It does nothing where there is nothing to mend."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that mends what a finding says."""

    label: str  # what it does, in words for a button
    change: _Change  # of the item, or of every item where the finding is about the whole set
    # Where only somebody who knows the set can say whether it is right, what its answer is called;
    # such a fix is never made unasked.
    choice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a set."""

    code: str  # what kind it is; the same kind has the same code
    severity: Severity
    item: int | None  # number of the item, or None for the whole set
    sentence: str  # for people
    fix: Fix | None = None  # what would mend it, if that is known

    @property
    def is_sure(self) -> bool:
        """Whether it has a fix that may be made unasked."""
        return self.fix is not None and not self.fix.choice


LEAVE_OUT = Fix("leave it out", lambda _: None)
