"""The models at hand: what each is called and what it knows; who was never chosen is not loaded."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import groma
from groma import embedded
from groma.chat.chat import Groma
from groma.types import GromaError

Loader = Callable[[], Groma]

NOTES = {
    "groma-photo": (
        "knows 80 kinds of things on photographs well and about 270 more a little, and cannot "
        "read, recognise people or see what they do; for more, get the released 7B (see the "
        "README)."
    ),
    "groma-mini": (
        "knows illustrated scenes only; photographs are beyond it: choose groma-photo for them, or "
        "get the released 7B (see the README)."
    ),
}
OTHER_NOTE = "can name, and point at, things that are not there; a score is no proof."


class Models:
    """The models at hand, shared by all visitors.

    Args:
        given: name of the model that everybody begins with.
        model: that model.
        others: what loads each other one, by name.
    """

    def __init__(
        self, given: str, model: Groma, others: Mapping[str, Loader] = MappingProxyType({})
    ) -> None:
        self.given = given
        self._others = dict(others)
        self._loaded = {given: model}
        self._lock = Lock()

    @property
    def notes(self) -> dict[str, str]:
        """What each model knows, a sentence that begins with its name; the given one first."""
        return {name: NOTES.get(name, OTHER_NOTE) for name in (self.given, *self._others)}

    def get(self, name: str) -> Groma:
        """A model; it is loaded when it is first asked for, and kept.

        Raises:
            GromaError: if there is none of that name, or it cannot be loaded.
        """
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._others:
            raise GromaError("There is no such model here; please load the page again.")
        with self._lock:  # of those who ask at once, one loads
            if name not in self._loaded:
                self._loaded[name] = self._others[name]()
        return self._loaded[name]

    def load_all(self) -> None:
        """Load what nobody has asked for yet.

        Raises:
            GromaError: as `get`.
        """
        for name in self.notes:
            self.get(name)


def title_of(source: str) -> str:
    """What to call a model, given by its name, folder or id; as an embedded one only if it is."""
    name = embedded.name_of(source)
    if name is not None:
        return name
    path = Path(source)
    last = path.resolve().name if path.is_dir() else path.name
    return f"{last} (another)" if last in embedded.NAMES else last


def embedded_loaders(device: str, dtype: str) -> dict[str, Loader]:
    """What loads the embedded models that are here, by name."""
    return {
        name: partial(groma.load, name, device=device, dtype=dtype) for name in embedded.at_hand()
    }
