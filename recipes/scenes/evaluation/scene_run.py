"""One evaluation: which scenes and questions, answered once, kept on disk, resumed if killed."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from tqdm import tqdm

from groma.chat.chat import Groma
from groma.chat.settings import GenerationSettings
from groma.dice import Split
from groma.run_journal import RunJournal
from groma.types import Detail, GromaError
from recipes.scenes.evaluation.answering import answer_scene
from recipes.scenes.evaluation.collage import CollageGenerator
from recipes.scenes.evaluation.records import SceneRecord
from recipes.scenes.evaluation.scene_questions import Questionnaire
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene


class SceneSource(Protocol):
    """An endless, indexable source of scenes."""

    def __getitem__(self, index: int) -> Scene:
        """The scene of an index."""
        ...


@dataclass(frozen=True)
class Settings:
    """Everything that answers depend on.

    Attributes:
        model: folder or Hugging Face id.
        quantization: how it was loaded.
        dtype: as it was asked for.
        scenes: "own" are those of `SceneGenerator`, "other" those of `CollageGenerator`.
        split: of the scenes.
        seed: of the scenes.
        style: one art style, or None for all that are trained on.
        size: side of the pictures in pixels.
        kinds: of questions.
        density: see `Questionnaire`.
        max_new_tokens: most tokens of an answer.
        score_threshold: see `GenerationSettings`.
        max_regions: see `GenerationSettings`.
        detail: see `GenerationSettings`.
        side: see `SceneGenerator`.
    """

    model: str
    quantization: str | None
    dtype: str
    scenes: str
    split: Split
    seed: int
    style: str | None
    size: int
    kinds: tuple[str, ...]
    density: float
    max_new_tokens: int
    score_threshold: float | None
    max_regions: int | None
    detail: Detail = 1
    side: int | None = None

    def source(self) -> SceneSource:
        """Where the scenes come from.

        Raises:
            GromaError: if there is no such style or the pictures are too small.
        """
        if self.scenes == "own":
            return SceneGenerator(self.split, self.seed, self.size, self.style, side=self.side)
        return CollageGenerator(self.split, self.seed, self.size, self.style)

    def generation(self) -> dict[str, Any]:
        """How answers are made, as `Groma.chat` takes it.

        Raises:
            GromaError: if a setting is out of range.
        """
        names = ("max_new_tokens", "score_threshold", "max_regions", "detail")
        chosen = {name: getattr(self, name) for name in names}
        GenerationSettings(**chosen)
        return chosen

    def describe(self, count: int) -> str:
        """One line that says what was measured on how many scenes."""
        makers = {"own": "scenes", "other": "scenes of other making"}
        style = self.style or "every style of training"
        return (
            f"{self.model}: {count:,} {makers[self.scenes]}, {self.split} split, "
            f"seed {self.seed}, {self.size} px, {style}"
            + (f", things of {self.side} px" if self.side else "")
            + (f", detail {self.detail}" if self.detail != 1 else "")
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return asdict(self) | {"kinds": list(self.kinds)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        fields: dict[str, Any] = data | {"kinds": tuple(data["kinds"])}
        return cls(**fields)


def answer_all(
    settings: Settings, indices: Sequence[int], load: Callable[[], Groma], path: Path | None
) -> list[SceneRecord]:
    """Have a model answer the questions of some scenes.

    Args:
        settings: what to ask, and how.
        indices: of the scenes.
        load: gives the model; not called if all answers are there already.
        path: where answers are kept; those already there are not asked for again.

    Returns:
        One record per index, in order.

    Raises:
        GromaError: if there is no scene to ask about, a setting makes no sense, or the file holds
            answers of another run.
    """
    if not indices or indices[0] < 0:
        raise GromaError("Ask about at least one scene, from an index that is not negative.")
    questions = Questionnaire(settings.kinds, settings.density)
    source, generation = settings.source(), settings.generation()
    file = RunJournal.resume(path, settings.to_dict()) if path else None
    records = _by_index(file.entries if file else [])
    missing = [index for index in indices if index not in records]
    if not missing:
        return [records[index] for index in indices]
    groma = load()
    for index in tqdm(missing, "scenes", len(indices), initial=len(indices) - len(missing)):
        scene = source[index]
        talks = questions.ask(scene, settings.split, settings.seed, index)
        records[index] = answer_scene(groma, scene, index, talks, generation)
        if file:
            file.append(records[index].to_dict())
    return [records[index] for index in indices]


def read_saved(paths: Sequence[Path]) -> tuple[Settings, list[SceneRecord]]:
    """Read answers that were saved, perhaps by several processes.

    Returns:
        How they were made, and one record per scene, by index.

    Raises:
        GromaError: if files are of different runs, a scene occurs twice, or there is none.
    """
    files = [RunJournal.read(path) for path in paths]
    if any(file.settings != files[0].settings for file in files):
        raise GromaError("These files hold answers of different runs; score them one by one.")
    records = _by_index([case for file in files for case in file.entries])
    if not records:
        raise GromaError(f"{paths[0]} holds no answers yet.")
    return Settings.from_dict(files[0].settings), [records[index] for index in sorted(records)]


def _by_index(cases: Sequence[dict[str, Any]]) -> dict[int, SceneRecord]:
    records: dict[int, SceneRecord] = {}
    for number, case in enumerate(cases, start=1):
        try:
            record = SceneRecord.from_dict(case)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GromaError(f"Answer {number} is no scene's answers ({error!r}).") from error
        if record.index in records:
            raise GromaError(f"Scene {record.key} was answered twice; leave one of them out.")
        records[record.index] = record
    return records
