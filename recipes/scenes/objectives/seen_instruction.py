"""What frozen parts see of scenes, looked at once and talked about again and again.

While image encoder, region proposer, projector and region encoder are frozen, they cost more than
the language model learns from them: every picture is encoded once, each pass asks other questions.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from groma.data.augment import redraw
from groma.data.batches import pad_conversations
from groma.data.tokenise import write
from groma.dice import Dice
from groma.image import normalise_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_selection import SelectionPolicy, select_candidates
from groma.model.training_forward import TrainingPicture
from groma.text.template import Template
from groma.tokens import TokenIds
from groma.types import Proposals
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.objectives.language_metrics import kind_indices
from recipes.scenes.objectives.scene_conversations import SceneInstruction
from recipes.scenes.objectives.scene_samples import to_planes
from recipes.scenes.objectives.symbolic_pretraining import TURNS
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.symbols import true_regions

SHARD = 128
"""Pictures per file."""
UNSEEN = 20_000_000
"""Index of the first picture: far behind all that detection pretraining has learnt by heart."""
_BATCH = 16
_PER_PICTURE = ("image_tokens", "boxes", "scores", "tokens", "drawn", "drawn_tokens", "true_tokens")


@dataclass(frozen=True)
class SeenScenes:
    """Scenes and what a model's frozen parts see of them, kept in files of `SHARD` pictures.

    Attributes:
        scenes: where the pictures come from.
        folder: of the files; what another model has seen goes.
        count: how many pictures.
    """

    scenes: SceneGenerator
    folder: Path
    count: int

    def index(self, number: int) -> int:
        """The scene of the picture of this number."""
        return UNSEEN + number

    def prepare(self, model: GromaForConditionalGeneration) -> None:
        """Look at every picture that is not kept yet; processes share the work.

        For each picture are kept: image tokens, the candidates among the proposals with their
        region tokens, and the region tokens of all true boxes, exact and as a user draws them.
        """
        process = PartialState()
        model.to(process.device)
        with process.main_process_first():
            self._forget_others(model)
        numbers = range(-(-self.count // SHARD))[process.process_index :: process.num_processes]
        todo = [number for number in numbers if not self._file(number).is_file()]
        silent = not process.is_local_main_process
        for number in tqdm(todo, desc="looking at pictures", unit_scale=SHARD, disable=silent):
            self._look(model, number)
        process.wait_for_everyone()

    def _forget_others(self, model: GromaForConditionalGeneration) -> None:
        """Remove what another model saw, or what it saw of other pictures."""
        mark, own = self.folder / "seen_by.txt", f"{fingerprint(model)} {self.scenes} {self.count}"
        if mark.is_file() and mark.read_text(encoding="utf-8") == own:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        mark.write_text(own, encoding="utf-8")

    @torch.no_grad()
    def _look(self, model: GromaForConditionalGeneration, shard: int) -> None:
        numbers = range(shard * SHARD, min(self.count, (shard + 1) * SHARD))
        rows: list[dict[str, Tensor]] = []
        for start in range(0, len(numbers), _BATCH):
            rows += self._see(model, numbers[start : start + _BATCH])
        lengths = {name: [len(row[name]) for row in rows] for name in _PER_PICTURE}
        stacked = {name: torch.cat([row[name] for row in rows]) for name in _PER_PICTURE}
        file = self._file(shard)
        draft = file.with_suffix(".part")
        save_file(stacked, draft)
        file.with_suffix(".json").write_text(json.dumps(lengths), encoding="utf-8")
        draft.rename(file)

    def _see(
        self, model: GromaForConditionalGeneration, numbers: Sequence[int]
    ) -> list[dict[str, Tensor]]:
        scenes = [self.scenes[self.index(number)] for number in numbers]
        pixels = torch.stack([to_planes(scene) for scene in scenes])
        device = model.device
        truth = [torch.from_numpy(true_regions(scene).boxes) for scene in scenes]
        drawn = [
            redraw(boxes, Dice.of(self.scenes.split, self.scenes.seed, self.index(number), 4))
            for boxes, number in zip(truth, numbers, strict=True)
        ]
        features = model.image_features(normalise_pixels(pixels.to(device)))
        image_tokens, feature_maps = model.visual_tokens(features)
        candidates = [passing(found, model.config.score_threshold) for found in features.proposals]
        boxes = [
            torch.cat([found.boxes, user.to(device), true.to(device)])
            for found, user, true in zip(candidates, drawn, truth, strict=True)
        ]
        tokens = model.region_encoder(feature_maps, boxes)
        rows = []
        for i, found in enumerate(candidates):
            parts = tokens[i].half().cpu().split([len(found.boxes), len(drawn[i]), len(truth[i])])
            rows.append(
                {
                    "image_tokens": image_tokens[i].half().cpu(),
                    "boxes": found.boxes.float().cpu(),
                    "scores": found.scores.float().cpu(),
                    "tokens": parts[0].contiguous(),
                    "drawn": drawn[i],
                    "drawn_tokens": parts[1].contiguous(),
                    "true_tokens": parts[2].contiguous(),
                }
            )
        return rows

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """What was seen of a picture; see `prepare`."""
        shard, position = divmod(number, SHARD)
        return {name: rows[position] for name, rows in _read(self._file(shard)).items()}

    def _file(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.safetensors"


def fingerprint(model: GromaForConditionalGeneration) -> str:
    """Tells models apart by everything but their language model."""
    digest = sha256(repr((model.config.score_threshold, model.config.nms_threshold)).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("language_model."):
            digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@lru_cache(maxsize=4)
def _read(file: Path) -> dict[str, tuple[Tensor, ...]]:
    lengths = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    return {name: rows.split(lengths[name]) for name, rows in load_file(file).items()}


def passing(proposals: Proposals, threshold: float) -> Proposals:
    """Those proposals, best first, that can become regions: the best one in any case."""
    count = max(1, int((proposals.scores > threshold).sum()))
    return Proposals(proposals.boxes[:count], proposals.scores[:count])


@dataclass(frozen=True)
class SeenConversations(Dataset):
    """Conversations about pictures that were seen; the same index is always the same sample.

    Attributes:
        seen: the pictures, which come again after each pass with other conversations.
        template: of the language model.
        length: how many conversations there are.
        limit: most tokens before image and regions are expanded.
    """

    seen: SeenScenes
    template: Template
    length: int
    limit: int = 384

    def __len__(self) -> int:
        """Conversations of all passes."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One conversation.

        Returns:
            `ids` and `labels` (T,) with placeholders; what was seen, the true boxes being those of
            the `<refer_box>` and `<ground_box>` placeholders, in order; `kinds` of the questions.
        """
        scenes, number = self.seen.scenes, index % self.seen.count
        scene = scenes[self.seen.index(number)]
        dice = language_dice(scenes.split, scenes.seed, self.seen.index(index))
        sample = converse(scene, dice, (TURNS, TURNS))
        written = write(sample, self.template, self.limit)
        truth = torch.from_numpy(true_regions(scene).boxes)
        picture = self.seen[number]
        return {
            "ids": written.ids,
            "labels": written.labels,
            "image_tokens": picture["image_tokens"],
            "boxes": picture["boxes"],
            "scores": picture["scores"],
            "tokens": picture["tokens"],
            "refer_boxes": picture["drawn"][written.refer],
            "refer_tokens": picture["drawn_tokens"][written.refer],
            "ground_boxes": truth[written.ground],
            "ground_tokens": picture["true_tokens"][written.ground],
            "kinds": kind_indices([turn.kind for turn in sample.turns]),
        }


_LISTED = (
    *("image_tokens", "boxes", "scores", "tokens", "kinds"),
    *("refer_boxes", "refer_tokens", "ground_boxes", "ground_tokens"),
)


@dataclass(frozen=True)
class SeenCollator:
    """Stacks samples of `SeenConversations`."""

    tokens: TokenIds

    def __call__(self, samples: Sequence[dict[str, Tensor]]) -> dict:
        """A batch with `input_ids` and `labels` (B, T) and lists of what was seen."""
        ids, labels = ([sample[part] for sample in samples] for part in ("ids", "labels"))
        return pad_conversations(ids, labels, self.tokens) | {
            part: [sample[part] for sample in samples] for part in _LISTED
        }


def sight_of(model: GromaForConditionalGeneration, picture: dict[str, Tensor]) -> TrainingPicture:
    """A picture as `encode_pictures` shows it, from what was kept."""
    refer, ground = picture["refer_boxes"], picture["ground_boxes"]
    proposals = Proposals(picture["boxes"], picture["scores"])
    regions, chosen = select_candidates(proposals, refer, ground, SelectionPolicy.of(model.config))
    candidates = [picture[name].float() for name in ("tokens", "refer_tokens", "ground_tokens")]
    tokens = torch.cat(candidates)[chosen]
    return TrainingPicture(
        picture["image_tokens"].float(), replace(regions, tokens=tokens), refer, ground
    )


class SeenInstruction(SceneInstruction):
    """The language model of a whole model with its losses, on pictures that were seen."""

    def forward(  # ty: ignore[incompatible-method-override]
        self,
        input_ids: Tensor,
        labels: Tensor,
        kinds: Sequence[Tensor] = (),  # noqa: ARG002
        **seen: list[Tensor],
    ) -> dict:
        """Loss of a batch.

        Args:
            input_ids: (B, T) with placeholders.
            labels: (B, T), -100 where nothing is supervised.
            kinds: of the questions; not used.
            seen: of each picture, as `SeenCollator` lists it.

        Returns:
            As `SceneInstruction.weigh`.
        """
        pictures = [dict(zip(seen, row, strict=True)) for row in zip(*seen.values(), strict=True)]
        output = self.model(
            input_ids,
            [sight_of(self.model, picture) for picture in pictures],
            labels=labels,
            shuffle_regions=self.shuffle_regions,
            output_attentions=self.looks,
        )
        return self.weigh({}, output, labels)
