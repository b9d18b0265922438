"""Conversations about scenes: language loss and region regression (paper 3.3, stages 2 and 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from groma.data.augment import redraw
from groma.data.batches import pad_conversations
from groma.data.tokenise import write
from groma.image import normalise_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import GromaOutput
from groma.text.template import Template
from groma.tokens import TokenIds
from groma.train.objectives.grounded_conversations import GroundedConversations
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.objectives.language_metrics import count_answers, kind_indices
from recipes.scenes.objectives.looking import Looking
from recipes.scenes.objectives.region_regression import RegionRegression, Truth
from recipes.scenes.objectives.scene_samples import to_planes
from recipes.scenes.objectives.symbolic_pretraining import TURNS, SymbolicRegionEncoder
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.symbols import true_regions


@dataclass(frozen=True)
class SceneConversations(Dataset):
    """Pictures with conversations; the same index is always the same sample.

    Attributes:
        scenes: where the pictures come from.
        template: of the language model.
        length: how many conversations count as one pass.
        limit: most tokens before image and regions are expanded.
    """

    scenes: SceneGenerator
    template: Template
    length: int
    limit: int = 384

    def __len__(self) -> int:
        """Conversations of one pass."""
        return self.length

    def __getitem__(self, index: int) -> dict:
        """One conversation.

        Returns:
            `pixels` (3, H, W) uint8; `ids` and `labels` (T,) with placeholders; `refer_boxes` and
            `ground_boxes` xyxy in [0, 1], one per placeholder, what the user draws being a little
            off; `truth`; `kinds` (turns,) of the questions.
        """
        scenes = self.scenes
        scene = scenes[index]
        dice = language_dice(scenes.split, scenes.seed, index)
        sample = converse(scene, dice, (TURNS, TURNS))
        written = write(sample, self.template, self.limit)
        regions = true_regions(scene)
        truth = {
            part: torch.from_numpy(getattr(regions, part))
            for part in ("boxes", "names", "colours", "sizes")
        }
        drawn = redraw(truth["boxes"], dice)
        return {
            "pixels": to_planes(scene),
            "ids": written.ids,
            "labels": written.labels,
            "refer_boxes": drawn[written.refer],
            "ground_boxes": truth["boxes"][written.ground],
            "truth": truth,
            "kinds": kind_indices([turn.kind for turn in sample.turns]),
        }


@dataclass(frozen=True)
class ConversationCollator:
    """Stacks samples of `SceneConversations`."""

    tokens: TokenIds

    def __call__(self, samples: Sequence[dict]) -> dict:
        """A batch as `SceneInstruction` takes it."""
        ids, labels = ([sample[part] for sample in samples] for part in ("ids", "labels"))
        return {
            "pixels": torch.stack([sample["pixels"] for sample in samples]),
            **pad_conversations(ids, labels, self.tokens),
            **{
                part: [sample[part] for sample in samples]
                for part in ("refer_boxes", "ground_boxes", "truth", "kinds")
            },
        }


class SceneInstruction(GroundedConversations):
    """The whole model with its losses; region tokens stay where they belong."""

    def __init__(
        self,
        model: GromaForConditionalGeneration,
        regions: SymbolicRegionEncoder | None,
        weights: Mapping[str, float],
        looking: Looking | None = None,
    ) -> None:
        """Train a model in place.

        Args:
            model: frozen as the stage says.
            regions: what region tokens regress to; None where they are frozen.
            weights: of `language`, of `looking` and of the terms of `RegionRegression`.
            looking: teaches a small language model where to look, which takes eager attention.
        """
        super().__init__(model, {k: weight for k, weight in weights.items() if k != "looking"})
        self.regression = None if regions is None else RegionRegression(regions)
        self.looking = looking
        self.looking_weight = weights.get("looking", 0.0)

    def forward(
        self,
        pixels: Tensor,
        input_ids: Tensor,
        labels: Tensor,
        refer_boxes: Sequence[Tensor],
        ground_boxes: Sequence[Tensor],
        truth: Sequence[Mapping[str, Tensor]] = (),
        kinds: Sequence[Tensor] = (),  # noqa: ARG002
    ) -> dict:
        """Loss of a batch.

        Args:
            pixels: (B, 3, S, S) uint8.
            input_ids: (B, T) with placeholders.
            labels: (B, T), -100 where nothing is supervised.
            refer_boxes: per row (K, 4), one for each `<refer_box>`.
            ground_boxes: per row (G, 4), one for each `<ground_box>`.
            truth: fields of each picture's `Truth`, needed by the regression.
            kinds: of the questions; not used.

        Returns:
            As `weigh`.
        """
        output = self.model(
            input_ids=input_ids,
            pixel_values=normalise_pixels(pixels),
            refer_boxes=refer_boxes,
            ground_boxes=ground_boxes,
            labels=labels,
            shuffle_regions=self.shuffle_regions and self.training,
            output_attentions=self.looks,
        )
        if self.regression is None:
            return self.weigh({}, output, labels)
        shown = [
            Truth(**true).at(picture.boxes)
            for true, picture in zip(truth, output.regions, strict=True)
        ]
        tokens = [picture.tokens for picture in output.regions]
        return self.weigh(self.regression(tokens, shown), output, labels)

    @property
    def looks(self) -> bool:
        """Whether attention is needed."""
        return self.looking is not None and self.training

    def weigh(self, terms: Mapping[str, Tensor], output: GromaOutput, labels: Tensor) -> dict:
        """Add what teaches where to look; see `GroundedConversations`."""
        result = super().weigh(terms, output, labels)
        if self.looking is None or not self.training:
            return result
        looked = self.looking(output.attentions, output.input_ids, output.labels)
        result["loss"] = result["loss"] + self.looking_weight * looked["looking"]
        return result | looked


def count(model: SceneInstruction, batch: dict) -> Tensor:
    """Count right answers of a batch, as `count_answers` does."""
    output = model(**batch)
    return count_answers(output["logits"], output["labels"], batch["kinds"], model.model.tokens)
