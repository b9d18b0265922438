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

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from groma.data.augment import Augmentation
from groma.data.dataset import (
    ConversationEncoder,
    DetectionEncoder,
    Encoder,
    Examples,
    Source,
)
from groma.data.order import Order
from groma.data.records.left_out import read_left_out
from groma.data.sources.formats import FORMATS, read_options
from groma.data.sources.items import Items, Kind
from groma.text.template import Template
from groma.types import GromaError


@dataclass(frozen=True)
class SourceConfig:
    """One entry of `[[sources]]`.

    Attributes:
        name: what tables call it.
        format: one of `FORMATS`.
        annotations: file or folder.
        images: folder of the pictures.
        ratio: share of its items that counts as one pass; 2 is twice.
        options: of the format.
        without: lists of pictures to be left out.
    """

    name: str
    format: str
    annotations: Path
    images: Path
    ratio: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[Path, ...] = ()

    def open(self, cache: Path | None) -> Items:
        """All its samples; the index is made where there is none.

        Raises:
            GromaError: naming the source, if a file is missing or of another format.
        """
        try:
            items = FORMATS[self.format](self.annotations, cache, **self.options)
            if not len(items):
                raise GromaError(f"{self.annotations} holds no item.")
        except (GromaError, OSError) as error:
            raise GromaError(f"Source {self.name}: {error}") from error
        return items


@dataclass(frozen=True)
class Mixture:
    """Sources to train on together; every batch comes from one of them.

    Attributes:
        sources: at least one.
        seed: of order, phrasings and augmentation.
        augmentation: how often pictures are changed.
        cache: folder of indexes; None is beside each annotation file.
        without: lists of pictures to be left out of all sources.
        image_data: of Visual Genome, whose pictures of these lists are left out too.
        validation: what is never learnt from.
    """

    sources: tuple[SourceConfig, ...]
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    cache: Path | None = None
    without: tuple[Path, ...] = ()
    image_data: Path | None = None
    validation: "Mixture | None" = None

    @cached_property
    def items(self) -> tuple[Items, ...]:
        """The samples of every source, opened on first use.

        Raises:
            GromaError: if a source or a list of pictures cannot be opened.
        """
        opened = [source.open(self.cache) for source in self.sources]
        lists = [(*self.without, *source.without) for source in self.sources]
        keys = {files: read_left_out(files, self.image_data, self.cache) for files in set(lists)}
        return tuple(
            replace(items, without=keys[files]) for items, files in zip(opened, lists, strict=True)
        )

    @property
    def kind(self) -> Kind:
        """What all sources are for.

        Raises:
            GromaError: if some are for detection and some for conversations.
        """
        kinds = [items.kind for items in self.items]
        if len(set(kinds)) > 1:
            listed = ", ".join(
                f"{source.name} ({kind})" for source, kind in zip(self.sources, kinds, strict=True)
            )
            raise GromaError(f"A mixture is all detection or all conversations, not {listed}.")
        return kinds[0]

    @cached_property
    def opened(self) -> tuple[Source, ...]:
        """The sources with their samples and pictures."""
        return tuple(
            Source(source.name, items, source.images)
            for source, items in zip(self.sources, self.items, strict=True)
        )

    def order(self, batch_size: int, ranks: int = 1, passes: int = 1) -> Order:
        """Which item comes when; arguments as in `conversations`."""
        lengths = tuple(len(items) for items in self.items)
        ratios = tuple(source.ratio for source in self.sources)
        return Order(lengths, ratios, batch_size, ranks, passes, self.seed)

    def prepare(self) -> None:
        """Make every index; under several processes the first one does so before the others.

        Those of the validation are made too.

        Raises:
            GromaError: if a source cannot be opened, or the sources do not belong together.
        """
        kind = self.kind
        if self.validation is not None and self.validation.kind != kind:
            raise GromaError(f"The [[validation]] must be for {kind}, as the sources are.")

    def detection(
        self, image_size: int, batch_size: int, ranks: int = 1, passes: int = 1
    ) -> Examples:
        """Examples for detection pretraining; collate with `collate_detection`.

        Args:
            image_size: S, side of the pictures in pixels.
            batch_size: examples in a row that come from one source: of one process's batch.
            ranks: batches in a row that come from one source: the number of processes.
            passes: how often the mixture is gone through.

        Returns:
            See `Examples`; items are as `DetectionEncoder` makes them.

        Raises:
            GromaError: if the sources hold conversations, or cannot be opened.
        """
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
        """Examples of conversations; collate with `ExampleCollator`.

        Args:
            template: of the language model.
            image_size: S, side of the pictures in pixels.
            batch_size: examples in a row that come from one source: of one process's batch.
            ranks: batches in a row that come from one source: the number of processes.
            passes: how often the mixture is gone through.
            limit: most tokens, before image and regions are expanded.

        Returns:
            See `Examples`; items are as `ConversationEncoder` makes them.

        Raises:
            GromaError: if the sources are for detection, or cannot be opened.
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
    """Read a configuration.

    Args:
        path: a TOML file as this module's docstring shows it.
        root: where relative paths start, instead of what the file says.

    Raises:
        GromaError: if it is not TOML, or an entry is missing, unknown or wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GromaError(f"There is no file {path}.") from error
    except ValueError as error:
        raise GromaError(f"{path} is not TOML: {error}.") from error
    try:
        return _read_mixture(data, path.parent, root)
    except GromaError as error:
        raise GromaError(f"{path}: {error}") from error


def _read_mixture(data: Mapping[str, Any], folder: Path, root: Path | None) -> Mixture:
    settings = data.get("mixture", {})
    if not isinstance(settings, dict) or not data.get("sources"):
        raise GromaError("it needs at least one table [[sources]], and [mixture] must be a table.")
    known = ("root", "cache", "seed", "flip", "crop", "without", "image_data")
    _check_names(settings, known, "[mixture]")
    if root is None:
        root = folder / _take(settings, "root", str, ".", "[mixture]")
    sources, unseen = (_read_sources(data.get(k, []), root) for k in ("sources", "validation"))
    flip, crop = (_take_number(settings, name, 0.0, "[mixture]") for name in ("flip", "crop"))
    if max(flip, crop) > 1:
        raise GromaError("flip and crop are probabilities: they must be from 0 to 1.")
    cache, image_data = (
        root / name if (name := _take(settings, key, str, "", "[mixture]")) else None
        for key in ("cache", "image_data")
    )
    seed = _take(settings, "seed", int, 0, "[mixture]")
    return Mixture(
        sources,
        seed,
        Augmentation(flip, crop),
        cache,
        _take_paths(settings, "without", root, "[mixture]"),
        image_data,
        Mixture(unseen, seed, cache=cache, image_data=image_data) if unseen else None,
    )


def _read_sources(entries: Any, root: Path) -> tuple[SourceConfig, ...]:
    if not isinstance(entries, list):
        raise GromaError("sources are tables [[sources]] and [[validation]].")
    sources = tuple(_read_source(entry, root) for entry in entries)
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise GromaError(f"two sources have the same name: {', '.join(sorted(names))}.")
    return sources


def _read_source(entry: Any, root: Path) -> SourceConfig:
    if not isinstance(entry, dict):
        raise GromaError("every source must be a table.")
    name = _take(entry, "name", str, None, "a source")
    where = f"source {name}"
    fields = ("format", "annotations", "images")
    kind, annotations, images = (_take(entry, field, str, None, where) for field in fields)
    ratio = _take_number(entry, "ratio", 1.0, where)
    if not ratio:
        raise GromaError(f"{where}: ratio must be more than 0.")
    without = _take_paths(entry, "without", root, where)
    own = ("name", "ratio", "without", *fields)
    options = {k: v for k, v in entry.items() if k not in own}
    try:
        checked = read_options(kind, options, root)
    except GromaError as error:
        raise GromaError(f"{where}: {error}") from error
    return SourceConfig(name, kind, root / annotations, root / images, ratio, checked, without)


def _take(
    table: Mapping[str, Any], name: str, kind: type[str | int], default: Any, where: str
) -> Any:
    """A value of a table, of the type it must have; None as default means that it must be there."""
    value = table.get(name, default)
    if value is None:
        raise GromaError(f"{where} has no {name!r}.")
    if not isinstance(value, kind) or isinstance(value, bool):
        meant = "text" if kind is str else "a whole number"
        raise GromaError(f"{where}: {name} must be {meant}, not {value!r}.")
    return value


def _take_number(table: Mapping[str, Any], name: str, default: float, where: str) -> float:
    value = table.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e6:
        raise GromaError(f"{where}: {name} must be a number from 0, not {value!r}.")
    return float(value)


def _take_paths(table: Mapping[str, Any], name: str, root: Path, where: str) -> tuple[Path, ...]:
    values = table.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise GromaError(f"{where}: {name} must be a list of files, not {values!r}.")
    return tuple(root / value for value in values)


def _check_names(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise GromaError(f"{where} has no setting {name!r}; it knows {', '.join(known)}.")
