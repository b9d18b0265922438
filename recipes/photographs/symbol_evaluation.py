"""Is the talk right, given what was seen? The model's language on symbols it was not trained on.

The model answers through the same chat as ever; only its eyes are replaced by the truth about a
scene without pixels. What it sees on photographs is measured by `groma eval photos`.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from tqdm import tqdm

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, plain_text
from groma.dice import Dice, Split
from groma.eval.harness.asker import hold
from groma.eval.statistics.intervals import proportion
from groma.image import boxes_to_pixels
from groma.ops.boxes import pairwise_iou
from groma.types import EncodedImage, Proposals
from recipes.photographs.photograph_language import PARTS
from recipes.photographs.photograph_scenes import PhotographScenes, SeenRegions, seen_regions
from recipes.photographs.photograph_talk import PHOTOGRAPHED, tempting_nouns
from recipes.scenes.evaluation.figure_table import Row, Section
from recipes.scenes.language.conversations import ask_about, language_dice
from recipes.scenes.language.facts import Facts
from recipes.scenes.scene import Scene

KINDS: Mapping[str, tuple[str, float]] = {
    "rec_name": ("by name", 0.97),
    "region_name": ("a marked thing's name", 0.97),
    "rec_colour": ("by colour", 0.92),
    "rec_size": ("by size", 0.92),
    "rec_position": ("by position", 0.92),
    "rec_ordinal": ("by order", 0.92),
    "rec_relation": ("by relation", 0.92),
    "count": ("counts", 0.95),
    "find_absent": ("absent things denied", 0.97),
    "exist_doubt": ("may be there", 0.92),
    "region_doubt": ("may be this", 0.92),
    "find_unknown": ("not learnt", 0.92),
    "refuse_reading": ("refusals", 0.97),
}
"""Kinds of questions with one right answer: what a row is called, and its target."""
PAIRS: Mapping[str, tuple[str, float]] = {
    "find_all": ("find all", 0.95),
    "describe_brief": ("short descriptions", 0.95),
    "describe_long": ("long descriptions", 0.95),
}
"""Kinds whose answers point at several regions: precision and recall."""
_IOU = 0.5

Counts = dict[tuple[str, float | None], list[int]]
"""Row and target -> right ones, all."""


class SymbolicEyes(nn.Module):
    """A region encoder that knows what regions show: the rows of its only feature map."""

    def __init__(self, code: nn.Module) -> None:
        super().__init__()
        self.code = code

    def forward(
        self,
        feature_maps: list[Tensor],
        boxes: list[Tensor],
        masks: None = None,
        in_maps: None = None,
    ) -> list[Tensor]:
        """Look up (N, 4) boxes of one picture without masks or tiles; see `RegionEncoder`."""
        assert masks is in_maps is None
        table = feature_maps[0][0]
        rows = table[pairwise_iou(boxes[0], table[:, :4]).argmax(dim=1)]
        weights = rows[:, 4:].split(list(PARTS.values()), dim=1)
        return [self.code(rows[:, :4], **dict(zip(PARTS, weights, strict=True)))]


def evaluate(groma: Groma, count: int, split: Split = "test", seed: int = 0) -> Section:
    """Ask about `count` scenes one question of every kind that they allow.

    Args:
        groma: a model whose regions speak the photograph model's code.
        count: of scenes.
        split: never trained on: "val" or "test".
        seed: of the scenes.
    """
    blind = with_symbolic_eyes(groma)
    scenes, counts = PhotographScenes(split, seed), Counts()
    for index in tqdm(range(count), unit="scene"):
        scene = scenes[index]
        possible = PHOTOGRAPHED.weigh(Facts(scene))
        for kind in (kind for kind in (*KINDS, *PAIRS) if kind in possible):
            sample = ask_about(scene, kind, language_dice(split, seed + 1, index), PHOTOGRAPHED)
            if sample is not None:
                _ask(blind, scene, sample, Dice.of(split, seed, index, stream=13), counts)
    rows = tuple(
        Row(label.replace(" ", "_"), label, proportion(right, asked), target)
        for (label, target), (right, asked) in counts.items()
    )
    return Section("Given what was seen", rows)


def with_symbolic_eyes(groma: Groma) -> Groma:
    """The same language model behind a region encoder that is told what there is."""
    blind = copy.copy(groma)
    blind.model = copy.copy(groma.model)
    blind.model._modules = dict(groma.model._modules)
    blind.model.region_encoder = SymbolicEyes(groma.model.region_encoder.code)
    blind.model.config = copy.deepcopy(groma.config)
    blind.model.config.nms_threshold, blind.model.config.score_threshold = 0.95, 0.0
    return blind


def see(regions: SeenRegions, scene: Scene, width: int) -> EncodedImage:
    """A scene as an encoded picture."""
    parts = [torch.from_numpy(getattr(regions, part)) for part in ("boxes", *PARTS)]
    boxes = parts[0]
    return EncodedImage(
        original_size=scene.size,
        image_tokens=torch.zeros(0, width),
        feature_maps=(torch.cat(parts, dim=1),),
        proposals=Proposals(boxes, torch.linspace(0.9, 0.1, len(boxes))),
    )


def _ask(groma: Groma, scene: Scene, sample: GroundedSample, dice: Dice, counts: Counts) -> None:
    regions = seen_regions(scene, dice, tempting_nouns(sample))
    encoded = see(regions, scene, groma.config.text_config.hidden_size)
    reply, turn = hold(groma.chat(encoded), sample)[-1], sample.turns[-1]
    right, found, wanted = _match(turn, reply, sample)

    def add(label: str, target: float | None, right: int, asked: int) -> None:
        row = counts.setdefault((label, target), [0, 0])
        row[0] += right
        row[1] += asked

    if turn.kind in PAIRS:
        label, target = PAIRS[turn.kind]
        add(f"{label}: precision", target, right, found)
        add(f"{label}: recall", target, right, wanted)
        named = [region.id for span in reply.spans for region in span.regions]
        add("nothing pointed at twice", 1.0, len(set(named)) == len(named), 1)
    else:
        agrees = turn.expected.regions is None or right == found == wanted
        add(*KINDS[turn.kind], agrees and _is_right(turn, reply), 1)
    add("all, in the very words", None, plain_text(turn.answer) == reply.text, 1)


def _match(turn: QA, reply: GroundedReply, sample: GroundedSample) -> tuple[int, int, int]:
    """Regions pointed at rightly, all that are pointed at, and those that had to be."""
    wanted = sorted(turn.expected.regions or ())
    found = [region.box for span in reply.spans for region in span.regions]
    if not wanted or not found:
        return 0, len(found), len(wanted)
    boxes = torch.tensor([sample.boxes[i] for i in wanted])
    truth = torch.tensor(boxes_to_pixels(boxes, sample.size))
    covered = pairwise_iou(torch.tensor(found), truth) > _IOU
    return int(covered.any(dim=0).sum()), len(found), len(wanted)


def _is_right(turn: QA, reply: GroundedReply) -> bool:
    """Whether the words say what they must, as far as that is known."""
    text, expected = reply.text.lower(), turn.expected
    if expected.count is not None:
        return plain_text(turn.answer).rpartition(":")[2].strip(" .").lower() in text
    if expected.words:
        return all(any(word in text for word in group) for group in expected.words)
    if expected.regions == frozenset():
        return plain_text(turn.answer) == reply.text
    return "may be" in text if turn.kind.endswith("doubt") else "may be" not in text
