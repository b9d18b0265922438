"""Region tokens of a convolutional detector: its findings, spoken in the fixed code."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import IMAGE_MEAN, IMAGE_STD, GromaConfig
from groma.model.efficientnet_lite import EfficientNetLite
from groma.model.region_code import RegionCode
from groma.ops.boxes import box_area, pairwise_iou, pairwise_overlap
from groma.ops.colours import NAMES, name_colours
from groma.ops.roi_align import roi_align
from groma.types import Proposals

SURE, UNSURE, FAINT = range(3)
"""A sure name is told unasked, an unsure one where somebody asks for it, a faint one only where
somebody points at it."""
SECOND_WEIGHT = 0.6
"""Weight of the second name of a region that may be two things."""
FAINT_WEIGHT = 0.5
"""Weight of the name of a region that is faint."""
_PART = 0.8
"""A region that shares more of its area, or of the other's, with a better one repeats it."""
_NEARLY_AS_LIKELY = 0.5
_SAME = 1e-3
"""A proposal comes back as a box that differs by less, in IoU."""
_SURE_NAME, _MAYBE_NAME, _AGREES, _DOUBTFUL = 0.8, 0.5, 0.3, 0.5
_NUM_CLASSES, _CROP_SIDE, _MARGIN = 1000, 224, 0.1
_FEATURE_SAMPLES, _COLOUR_SAMPLES = 6, 9
_COLOUR_SHARE = 0.4
"""Share of the samples in the middle of a box that must agree on its colour."""


@dataclass(frozen=True)
class Findings:
    """What was found in one picture and may be spoken of."""

    boxes: Tensor  # (M, 4) xyxy in [0, 1]
    probabilities: Tensor  # (M, K) of each class
    certainty: Tensor  # (M,) how likely each is a whole thing of its best class, and no double

    def levels(self, sure: float, unsure: float) -> Tensor:
        """(M,) `SURE`, `UNSURE` or `FAINT`; unsure is at most one of a name, where none is sure."""
        names = self.probabilities.argmax(dim=1)
        levels = torch.full_like(names, FAINT)
        levels[self.certainty >= sure] = SURE
        for name in names.unique():
            members = (names == name).nonzero().flatten()
            best = members[self.certainty[members].argmax()]
            if unsure <= self.certainty[best] < sure:
                levels[best] = UNSURE
        return levels


class CodedRegionEncoder(nn.Module):
    """Says in the language model's own words what the detector found in a region.

    A box of a proposal is that proposal; any other takes what is found about there, or has no name.
    """

    colourless: Tensor

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        self.config = config.region_config
        self.weights = config.vision_config.certainty
        self.score_threshold = config.score_threshold
        self.code = RegionCode(
            config.text_config.hidden_size,
            names=len(self.config.nouns),
            colours=len(NAMES),
            sizes=3,
            certainties=3,
            features=self.config.num_features,
        )
        width = config.vision_config.width
        self.pooled = nn.Linear(width, self.config.num_features, bias=False)
        # Like the code itself the same in every model, though it is stored with the weights.
        dice = torch.Generator().manual_seed(2)
        nn.init.orthogonal_(self.pooled.weight, generator=dice)
        if self.config.classifier:
            self.classifier = _RegionClassifier(len(self.config.nouns))
        self.requires_grad_(False)
        known = torch.tensor([noun in self.config.colourless for noun in self.config.nouns])
        self.register_buffer("colourless", known, persistent=False)

    def fuse(self, hidden_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the image encoder gives is all there is to it: findings, features, pixels."""
        return tuple(hidden_states)

    def forward(
        self,
        feature_maps: Sequence[Tensor],
        boxes: Sequence[Tensor],
        masks: Sequence[Tensor] | None = None,
        in_maps: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Encode any boxes of B pictures; arguments and shapes as `RegionEncoder.forward`.

        Masks count for colours and features; what a name is, the box says.
        """
        shown = boxes if in_maps is None else in_maps
        return [
            self._encode(
                *(level[i] for level in feature_maps),
                chosen.float(),
                None if masks is None else masks[i],
                shown[i].float(),
            )
            for i, chosen in enumerate(boxes)
        ]

    def unnamed(
        self, feature_maps: Sequence[Tensor], boxes: Sequence[Tensor], in_maps: Sequence[Tensor]
    ) -> list[Tensor]:
        """Region tokens of boxes of which all is certain but the name; as `forward` otherwise."""
        pictures = zip(feature_maps[-1], boxes, in_maps, strict=True)
        return [self._without_name(pixels, b.float(), s.float()) for pixels, b, s in pictures]

    def _without_name(self, pixels: Tensor, boxes: Tensor, shown: Tensor) -> Tensor:
        certain = torch.full((len(boxes),), SURE, device=boxes.device)
        return self._spell(
            boxes,
            names=boxes.new_zeros(len(boxes), len(self.config.nouns)),
            colours=colour_weights(pixels, shown),
            certainties=F.one_hot(certain, 3),
            features=boxes.new_zeros(len(boxes), self.config.num_features),
        )

    def _spell(self, boxes: Tensor, **weights: Tensor) -> Tensor:
        """(N, D) of (N, 4) boxes in the code; their sizes are told besides."""
        weights["sizes"] = F.one_hot(self._sizes(boxes), 3)
        dtype = self.pooled.weight.dtype
        return self.code(boxes, **{part: value.to(dtype) for part, value in weights.items()})

    def _encode(
        self,
        found: Tensor,
        features: Tensor,
        pixels: Tensor,
        boxes: Tensor,
        masks: Tensor | None,
        shown: Tensor,
    ) -> Tensor:
        names, certainties = self._names(self.findings(found), pixels, boxes, shown)
        colours = colour_weights(pixels, shown, masks)
        colours[self.colourless[names.argmax(dim=1)] & names.any(dim=1)] = 0
        features = self._features(features, shown, masks)
        parts = {"names": names, "colours": colours, "certainties": certainties}
        return self._spell(boxes, **parts, features=features)

    def findings(self, found: Tensor) -> Findings:
        """The findings (Q, 4 + K) of a picture that pass the score threshold, at least one."""
        scores = found[:, 4:].amax(dim=1).float()
        # The best one always passes, as in `select_regions`: a box needs something to be.
        passing = scores > min(self.score_threshold, float(scores.max()) - 1e-6)
        boxes, probabilities = found[passing, :4].float(), found[passing, 4:].float()
        return Findings(boxes, probabilities, certainty(boxes, probabilities, self.weights))

    def _names(
        self, findings: Findings, pixels: Tensor, boxes: Tensor, shown: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights of names (N, nouns) and of certainties (N, 3)."""
        overlaps = pairwise_iou(boxes, findings.boxes)
        overlap, owner = overlaps.max(dim=1)
        drawn = overlap < 1 - _SAME
        # What the user has drawn is no finding: all that cover about the same have a say.
        votes = overlaps.square() * (overlaps >= self.config.known)
        votes = votes / votes.amax(dim=1, keepdim=True).clamp(min=_SAME)
        votes = torch.where(drawn[:, None], votes, F.one_hot(owner, len(findings.boxes)))
        said = (votes @ findings.probabilities).clamp(max=1)
        # The classifier knows more nouns than the detector, whose classes are the first of them.
        probabilities = F.pad(said, (0, len(self.config.nouns) - said.shape[1]))
        levels = findings.levels(self.config.sure, self.config.unsure)[owner]
        # It is no double of anything either: only its own score counts.
        alone = certainty(boxes, probabilities, self.weights, alone=True)
        own = torch.where(alone >= self.config.sure, SURE, UNSURE)
        own[overlap < self.config.known] = FAINT
        levels = torch.where(drawn, own, levels)
        if self.config.classifier and drawn.any():
            self._name_drawn(probabilities, levels, drawn.nonzero().flatten(), pixels, shown)
        names = self._two_names(probabilities, levels)
        return names, F.one_hot(levels, 3)

    def _name_drawn(
        self, probabilities: Tensor, levels: Tensor, rows: Tensor, pixels: Tensor, boxes: Tensor
    ) -> None:
        """Let the classifier name boxes of the user, in place, where it is surer.

        Measured on labelled photographs: above a probability of .8 it is right more often than a
        doubtful detector; but it names what a person wears or holds.
        """
        likeliest, name = self.classifier(pixels, boxes[rows]).max(dim=1)
        found, detected = probabilities[rows].max(dim=1)
        agrees = probabilities[rows, name] > _AGREES * found
        person = (detected == self.config.nouns.index("person")) & (found > 0)
        better = (likeliest > _SURE_NAME) & (agrees | ((found < _DOUBTFUL) & ~person))
        better |= (found == 0) & (likeliest > _MAYBE_NAME)
        rows, name, likeliest = rows[better], name[better], likeliest[better]
        probabilities[rows] = 0
        probabilities[rows, name] = likeliest
        levels[rows] = torch.where(likeliest > _SURE_NAME, SURE, UNSURE)

    def _two_names(self, probabilities: Tensor, levels: Tensor) -> Tensor:
        """The likeliest name, and the next where it is unsure and nearly as likely."""
        (first, second), index = (part.T for part in probabilities.topk(2, dim=1))
        names = probabilities.new_zeros(len(levels), len(self.config.nouns))
        weight = torch.where(levels == FAINT, FAINT_WEIGHT, 1.0)
        weight = weight * (first > 0)  # what is not known has no name
        names.scatter_(1, index[:1].T, weight[:, None])
        both = (levels == UNSURE) & (second > _NEARLY_AS_LIKELY * first)
        return names.scatter_add_(1, index[1:].T, (both * SECOND_WEIGHT)[:, None])

    def _sizes(self, boxes: Tensor) -> Tensor:
        """(N,) 0 for small, 1 for medium, 2 for large."""
        side = box_area(boxes).sqrt()
        return torch.bucketize(side, side.new_tensor(self.config.size_limits), right=True)

    def _features(self, features: Tensor, boxes: Tensor, masks: Tensor | None) -> Tensor:
        """(N, F) of variance 1: what sets a region apart from the rest of the picture."""
        height, width = features.shape[-2:]
        windows = boxes * boxes.new_tensor([width, height, width, height])
        owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        # What the whole picture has in common, its light above all, says nothing of a region.
        apart = (features - features.mean(dim=(1, 2), keepdim=True))[None].float()
        mean = roi_align(apart, windows, owners, 1, _FEATURE_SAMPLES, masks).flatten(1)
        return F.layer_norm(self.pooled(mean.to(self.pooled.weight)), (self.config.num_features,))


def certainty(
    boxes: Tensor,
    class_probabilities: Tensor,
    weights: list[float] | tuple[float, ...],
    alone: bool = False,
) -> Tensor:
    """How likely each region is what its best class says, well placed and not seen twice.

    The regions of one picture are (N, 4) xyxy in [0, 1] with (N, K) probabilities, each class by
    itself; `weights` are `ConvolutionalEncoderConfig.certainty`, a logistic regression on labelled
    photographs. With `alone` each is judged as if there were no others. Returns (N,) in [0, 1].
    """
    score, name = class_probabilities.max(dim=-1)
    # Other classes do not count: a rider and a horse overlap, and both are there.
    is_rival = (name[:, None] == name) & (score[:, None] < score)
    overlap = (pairwise_overlap(boxes, boxes) * is_rival).amax(dim=1)
    # Small things are mistaken more often at the same score.
    log_side = box_area(boxes).sqrt().clamp(min=0.01).log()
    is_repeated = ((overlap > _PART) & (not alone)).to(score)
    features = [score.logit(eps=1e-4), is_repeated, log_side, torch.ones_like(score)]
    return (torch.stack(features, dim=1) @ score.new_tensor(weights)).sigmoid()


def merge_findings(
    maps: Sequence[Tensor], tile_maps: Sequence[Tensor], merged: Proposals, rows: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Let regions be named by what was found in the picture or in any of its tiles.

    `maps` are findings (Q, 4 + K), features and pixels of the picture, `tile_maps` those of T
    tiles; `merged` and `rows` (N,) as from `merge_proposals`. Returns `maps` and `tile_maps`, the
    findings in both those of the merged proposals.
    """
    found = [each[each[:, 4:].amax(dim=1) > 0] for each in (maps[0], *tile_maps[0])]
    probabilities = torch.cat(found)[rows, 4:]
    trust = merged.scores[:, None] / probabilities.amax(dim=1, keepdim=True)
    findings = torch.cat([merged.boxes, probabilities * trust], dim=1).to(maps[0].dtype)
    in_tiles = findings.expand(len(tile_maps[0]), -1, -1)
    return (findings, *maps[1:]), (in_tiles, *tile_maps[1:])


class _RegionClassifier(nn.Module):
    """Names boxes of a picture with the V nouns that a classifier's classes are folded to.

    `fold` says which of them each class is, V for none.
    """

    fold: Tensor

    def __init__(self, num_nouns: int) -> None:
        super().__init__()
        self.network = EfficientNetLite()
        self.num_nouns = num_nouns
        self.register_buffer("fold", torch.full((_NUM_CLASSES,), num_nouns))

    def forward(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Name what (N, 4) boxes, xyxy in [0, 1], show of (3, S, S) normalised pixels.

        Returns (N, V) probabilities, what has no noun left out.
        """
        # A little of what is around helps to tell what it is.
        margin = _MARGIN * (boxes[:, 2:] - boxes[:, :2])
        wide = torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], dim=1).clamp(0, 1)
        rgb = _cut(pixels, wide, _CROP_SIDE).movedim(-1, 1)
        logits = self.network((rgb * 255 - 127).to(self.network.classes.weight) / 128)
        probabilities = logits.float().softmax(dim=1)
        folded = probabilities.new_zeros(len(boxes), self.num_nouns + 1)
        return folded.index_add_(1, self.fold, probabilities)[:, :-1]


def _cut(pixels: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut (N, 4) boxes, xyxy in [0, 1], out of (3, S, S) normalised pixels.

    Returns (N, side, side, 3) RGB in [0, 1].
    """
    owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    samples = roi_align(pixels[None].float(), boxes * pixels.shape[-1], owners, side, 1)
    mean, std = samples.new_tensor(IMAGE_MEAN), samples.new_tensor(IMAGE_STD)
    return samples.movedim(1, -1) * std + mean


def colour_weights(pixels: Tensor, boxes: Tensor, masks: Tensor | None = None) -> Tensor:
    """Weights (N, 11) of the colour of masks, or in the middle of boxes; 0 where it has none.

    `pixels` are (3, S, S) normalised, `boxes` (N, 4) xyxy in [0, 1], `masks` (N, M, M) how much
    each cell of a box counts; where all do, it has no mask.
    """
    # The middle half of each side: the corners of a box are background as a rule.
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 4
    middles = torch.cat([centre - half, centre + half], dim=1)
    counts = boxes.new_ones(len(boxes), _COLOUR_SAMPLES**2)
    if masks is not None:
        is_masked = (masks < 1).flatten(1).any(dim=1, keepdim=True)
        own = F.adaptive_avg_pool2d(masks, _COLOUR_SAMPLES).flatten(1)
        middles = torch.where(is_masked, boxes, middles)
        counts = torch.where(is_masked, own, counts)
    colours = name_colours(_cut(pixels, middles, _COLOUR_SAMPLES)).flatten(1)
    shares = (F.one_hot(colours, len(NAMES)) * counts[..., None]).sum(dim=1)
    share, best = (shares / counts.sum(dim=1, keepdim=True)).max(dim=1)
    return F.one_hot(best, len(NAMES)) * (share >= _COLOUR_SHARE)[:, None].float()
