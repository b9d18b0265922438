"""Which sources are trained on and how much of each, as a TOML file says (paper Tab. 1).

    [mixture]                     # optional
    root = "data"                 # where relative paths start; itself relative to this file
    cache = "…"                   # folder of indexes; beside each annotation file by default
    seed = 0                      # of order, phrasings and augmentation
    flip = 0.0                    # probability of mirroring, where the words stay true
    crop = 0.0                    # probability of scale jitter, for detection alone
    without = ["refcoco/refs(unc).p"]       # lists of pictures to leave out, as those of test sets
    image_data = "vg/image_data.json"       # leave them out of Visual Genome too, by other names

    [[sources]]
    name = "refcoco"              # what tables call it
    format = "refer"              # one of `groma.data.sources.formats.FORMATS`
    annotations = "refcoco/refs(unc).p"
    images = "coco/train2014"
    ratio = 1.0                   # share of its items that counts as one pass
    without = ["flickr30k/test.txt"]        # more lists, for this source alone
    instances = "refcoco/instances.json"    # and other options of the format

    [[validation]]                # sources as above, which are never learnt from; optional

`groma.data.records.left_out` says what a list of pictures may be; what `[mixture]` leaves out of
training stays in the validation. Other tables of the file are none of this module's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from groma.data.augment import Augmentation
from groma.data.checked_tables import Table, check_table, read_tables
from groma.data.dataset import ConversationEncoder, DetectionEncoder, Encoder, Examples, Source
from groma.data.order import Order
from groma.data.records.left_out import read_left_out
from groma.data.sources.formats import FORMATS, read_options
from groma.data.sources.items import Kind
from groma.text.template import Template
from groma.types import GromaError


@dataclass(frozen=True)
class SourceConfig:
    """One entry of `[[sources]]`."""

    name: str  # what tables call it
    format: str  # one of `FORMATS`
    annotations: Path  # file or folder
    images: Path  # folder of the pictures
    ratio: float = 1.0  # share of its items that counts as one pass; 2 is twice
    options: Mapping[str, Any] = field(default_factory=dict)  # of the format
    without: tuple[Path, ...] = ()  # lists of pictures to be left out

    def open(self, cache: Path | None, without: frozenset[str] = frozenset()) -> Source:
        """All its samples but those of some pictures; the index is made where there is none.

        Raises `GromaError`, naming the source, if a file is missing or of another format.
        """
        try:
            samples = FORMATS[self.format](self.annotations, cache, **self.options)
            if not len(samples):
                raise GromaError(f"{self.annotations} holds no item.")
        except (GromaError, OSError) as error:
            raise GromaError(f"Source {self.name}: {error}") from error
        return Source(self.name, replace(samples, without=without), self.images)


@dataclass(frozen=True)
class Mixture:
    """Sources to train on together; every batch comes from one of them."""

    sources: tuple[SourceConfig, ...]  # at least one
    seed: int = 0  # of order, phrasings and augmentation
    # How often pictures are changed.
    augmentation: Augmentation = field(default_factory=Augmentation)
    cache: Path | None = None  # folder of indexes; None is beside each annotation file
    without: tuple[Path, ...] = ()  # lists of pictures to be left out of all sources
    # Of Visual Genome, whose pictures of these lists are left out too.
    image_data: Path | None = None
    validation: "Mixture | None" = None  # what is never learnt from

    @cached_property
    def opened(self) -> tuple[Source, ...]:
        """The sources with their samples and pictures, opened on first use."""
        lists = [(*self.without, *source.without) for source in self.sources]
        keys = {files: read_left_out(files, self.image_data, self.cache) for files in set(lists)}
        return tuple(
            source.open(self.cache, keys[files])
            for source, files in zip(self.sources, lists, strict=True)
        )

    @property
    def kind(self) -> Kind:
        """What all sources are for; raises `GromaError` if it is not the same."""
        kinds = {source.name: source.samples.kind for source in self.opened}
        if len(set(kinds.values())) > 1:
            listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise GromaError(f"A mixture is all detection or all conversations, not {listed}.")
        return self.opened[0].samples.kind

    def order(self, batch_size: int, ranks: int = 1, passes: int = 1) -> Order:
        """Which item comes when; arguments as in `conversations`."""
        lengths = tuple(len(source.samples) for source in self.opened)
        ratios = tuple(source.ratio for source in self.sources)
        return Order(lengths, ratios, batch_size, ranks, passes, self.seed)

    def prepare(self) -> None:
        """Make every index, also of the validation; of several processes the first does so alone.

        Raises `GromaError` if a source cannot be opened, or the sources do not belong together.
        """
        kind = self.kind
        if self.validation is not None and self.validation.kind != kind:
            raise GromaError(f"The [[validation]] must be for {kind}, as the sources are.")

    def detection(
        self, image_size: int, batch_size: int, ranks: int = 1, passes: int = 1
    ) -> Examples:
        """Examples of `DetectionEncoder`, for `collate_detection`; see `conversations`."""
        encoder = DetectionEncoder(image_size, self.augmentation)
        return self._examples("detection", encoder, batch_size, ranks, passes)

    def conversations(
        self,
        template: Template,
        image_size: int,
        batch_size: int,
        ranks: int = 1,
        passes: int = 1,
        limit: int = 1024,
    ) -> Examples:
        """Examples of conversations, as `ConversationEncoder` makes them, for `ExampleCollator`.

        `batch_size` is how many examples in a row come from one source, those of one process's
        batch; `ranks` how many such batches, the number of processes; `passes` how often the
        mixture is gone through. Raises `GromaError` if the sources are for something else, or
        cannot be opened.
        """
        encoder = ConversationEncoder(template, image_size, limit, self.augmentation)
        return self._examples("conversation", encoder, batch_size, ranks, passes)

    def _examples(
        self, kind: Kind, encoder: Encoder, batch_size: int, ranks: int, passes: int
    ) -> Examples:
        if self.kind != kind:
            raise GromaError(f"These sources are for {self.kind}, not for {kind}.")
        order = self.order(batch_size, ranks, passes)
        return Examples(self.opened, order, encoder, self.seed)


def read_mixture(path: Path, root: Path | None = None) -> Mixture:
    """Read a TOML file as this module's docstring shows it; `root` is instead of the file's.

    Raises `GromaError` if it is not TOML, or an entry is missing, unknown or wrong.
    """
    data = read_tables(path)
    try:
        return _read_mixture(data, path.parent, root)
    except GromaError as error:
        raise GromaError(f"{path}: {error}") from error


_PATHS: Any = Field((), description="a list of files")
_PROBABILITY: Any = Field(
    0.0, strict=True, ge=0, le=1, description="one of the probabilities, from 0 to 1"
)


class _Settings(Table):
    """The table `[mixture]`."""

    root: str = Field(".", description="text")
    cache: str = Field("", description="text")
    seed: int = Field(0, strict=True, description="a whole number")
    flip: float = _PROBABILITY
    crop: float = _PROBABILITY
    without: tuple[str, ...] = _PATHS
    image_data: str = Field("", description="text")


class _Source(Table):
    """A table `[[sources]]`; what else it holds are options of the format."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="text")
    format: str = Field(description="text")
    annotations: str = Field(description="text")
    images: str = Field(description="text")
    ratio: float = Field(
        1.0,
        strict=True,
        gt=0,
        lt=1e6,
        description="a number from 0 to a million, and more than 0",
    )
    without: tuple[str, ...] = _PATHS


def _read_mixture(data: Mapping[str, Any], folder: Path, root: Path | None) -> Mixture:
    table = data.get("mixture", {})
    if not isinstance(table, dict) or not data.get("sources"):
        raise GromaError("it needs at least one table [[sources]], and [mixture] must be a table.")
    settings = check_table(_Settings, table, "[mixture]")
    root = folder / settings.root if root is None else root
    sources, unseen = (_read_sources(data.get(k, []), root) for k in ("sources", "validation"))
    cache = root / settings.cache if settings.cache else None
    image_data = root / settings.image_data if settings.image_data else None
    return Mixture(
        sources,
        settings.seed,
        Augmentation(settings.flip, settings.crop),
        cache,
        tuple(root / name for name in settings.without),
        image_data,
        Mixture(unseen, settings.seed, cache=cache, image_data=image_data) if unseen else None,
    )


def _read_sources(entries: Any, root: Path) -> tuple[SourceConfig, ...]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise GromaError("sources are tables [[sources]] and [[validation]].")
    sources = tuple(_read_source(entry, root) for entry in entries)
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise GromaError(f"two sources have the same name: {', '.join(sorted(names))}.")
    return sources


def _read_source(entry: Mapping[str, Any], root: Path) -> SourceConfig:
    where = f"source {entry['name']}" if "name" in entry else "a source"
    source = check_table(_Source, entry, where)
    try:
        options = read_options(source.format, source.model_extra or {}, root)
    except GromaError as error:
        raise GromaError(f"{where}: {error}") from error
    return SourceConfig(
        source.name,
        source.format,
        root / source.annotations,
        root / source.images,
        source.ratio,
        options,
        tuple(root / name for name in source.without),
    )
