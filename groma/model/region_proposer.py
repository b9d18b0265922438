"""Image features -> class-agnostic boxes with objectness (paper 3.1, Region Proposer)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import GromaConfig
from groma.model.deformable_detr import (
    DecoderLayer,
    EncoderLayer,
    FeatureLevels,
    grid_centres,
    grid_positions,
    sine_features,
)
from groma.ops.boxes import box_cxcywh_to_xyxy
from groma.types import ObjectnessMix, Proposals, Size

_OBJECTNESS_PRIOR = 0.01


@dataclass(frozen=True)
class DetectorOutput:
    """Boxes and scores of every decoder layer and of every location of the encoder."""

    boxes_cxcywh: Tensor  # (B, L, Q, 4) in [0, 1] after each of L decoder layers
    logits: dict[str, Tensor]  # objectness logits (B, L, Q) of the two heads, "coco" and "sa1b"
    location_boxes_cxcywh: Tensor  # (B, K, 4) first guess at every location
    location_logits: Tensor  # (B, K)
    queries: Tensor  # (B, L, Q, d) decoder states


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a (B, C, h, w) map."""

    def __init__(self, width: int) -> None:
        # ViTDet's epsilon, not torch's 1e-5.
        super().__init__(width, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each position on its own."""
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class _BoxHead(nn.Module):
    """Three linear layers from a query to a box correction in logit space."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(width, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 4)]
        )

    def initialise(self) -> None:
        """Start without any correction."""
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, queries: Tensor) -> Tensor:
        """(..., d) -> (..., 4) cxcywh logits, in fp32."""
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(queries))))).float()


def build_feature_pyramid(in_width: int, width: int, num_levels: int) -> nn.ModuleList:
    """Maps from the patch grid to feature levels, finest first (ViTDet-like).

    From `in_width` D of the image encoder to `width` d of the levels; one level is (1x), two are
    (1x, 1/2x), three (2x, 1x, 1/2x), four (4x, 2x, 1x, 1/2x), and any other number is a
    `ValueError`.
    """
    # The released pyramid is built coarse to fine and then reversed: index 0 is the finest level.
    half, quarter = width // 2, width // 4
    same = nn.Sequential(nn.Conv2d(in_width, width, 1), _ChannelNorm(width))
    coarse = nn.Sequential(nn.Conv2d(in_width, width, 3, stride=2, padding=1), _ChannelNorm(width))
    fine = nn.Sequential(
        nn.ConvTranspose2d(in_width, half, 2, stride=2),
        nn.Conv2d(half, width, 1),
        _ChannelNorm(width),
        nn.Conv2d(width, width, 3, padding=1),
    )
    finest = nn.Sequential(
        nn.ConvTranspose2d(in_width, half, 2, stride=2),
        _ChannelNorm(half),
        nn.GELU(),
        nn.ConvTranspose2d(half, quarter, 2, stride=2),
        nn.Conv2d(quarter, width, 1),
        _ChannelNorm(width),
        nn.Conv2d(width, width, 3, padding=1),
    )
    up, down = [fine, same, coarse], [same, coarse]
    pyramids = {1: [same], 2: down, 3: up, 4: [finest, *up]}
    if num_levels not in pyramids:
        raise ValueError(f"num_levels must be 1, 2, 3 or 4, not {num_levels}.")
    return nn.ModuleList(pyramids[num_levels])


class RegionProposer(nn.Module):
    """Two-stage Deformable DETR with two objectness heads (paper 3.1, Region Proposer).

    The head `coco` learns whole objects, the head `sa1b` objects, parts and stuff.
    """

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        sizes = config.proposer_config
        width = sizes.width
        self.config = sizes
        self.feature_pyramid = build_feature_pyramid(
            config.vision_config.hidden_size, width, sizes.num_levels
        )
        self.level_embedding = nn.Parameter(torch.randn(sizes.num_levels, width))
        self.encoder = nn.ModuleList([EncoderLayer(sizes) for _ in range(sizes.encoder_layers)])
        self.location_output = nn.Linear(width, width)
        self.location_norm = nn.LayerNorm(width)
        self.location_objectness = nn.Linear(width, 1)
        # Learned content, one row per rank of the proposals: the best one always gets row 0.
        self.query_content = nn.Embedding(sizes.num_queries, width)
        # The second half of this layer's output is thrown away: released weights have it, because
        # plain Deformable DETR makes its content of it.
        self.query_position = nn.Linear(2 * width, 2 * width)
        self.query_position_norm = nn.LayerNorm(2 * width)
        self.decoder = nn.ModuleList([DecoderLayer(sizes) for _ in range(sizes.decoder_layers)])
        self.objectness_coco, self.objectness_sa1b = (
            nn.ModuleList([nn.Linear(width, 1) for _ in range(sizes.decoder_layers)])
            for _ in range(2)
        )
        # One head per decoder layer and a last one for the encoder's locations.
        self.box_heads = nn.ModuleList(
            [_BoxHead(width, sizes.box_head_width) for _ in range(sizes.decoder_layers + 1)]
        )

    def initialise(self) -> None:
        """Start with rare objects; the level embedding and the box heads reset on their own."""
        nn.init.normal_(self.level_embedding)
        # With focal loss, heads that start at 0.5 would drown the first steps in easy negatives.
        prior = -math.log((1 - _OBJECTNESS_PRIOR) / _OBJECTNESS_PRIOR)
        for head in (*self.objectness_coco, *self.objectness_sa1b, self.location_objectness):
            nn.init.constant_(head.get_parameter("bias"), prior)

    def forward(self, hidden_states: Sequence[Tensor]) -> DetectorOutput:
        """Propose boxes from the image encoder's hidden states, each (B, D, g, g).

        The mean of the last four is what the proposer sees.
        """
        levels = self._levels(torch.stack(list(hidden_states[-4:])).mean(dim=0))
        memory = self._encode(levels)
        guesses, valid = self._location_guesses(levels.shapes, memory.device)
        # Zeroed before the linear layer, as in the release: an invalid location still gets a
        # constant logit, and its box is (1, 1, 1, 1) should it ever be chosen.
        states = memory.masked_fill(~valid[:, None], 0.0)
        states = self.location_norm(self.location_output(states))
        location_logits = self.location_objectness(states).squeeze(-1).float()
        location_deltas = self.box_heads[-1](states)
        box_logits = location_deltas + guesses
        best = location_logits.topk(self.config.num_queries, dim=1).indices
        # Only the choice is cut off from the gradient, as in two-stage Deformable DETR.
        chosen = box_logits.detach().gather(1, best[..., None].expand(-1, -1, 4))
        queries = self._decode(chosen, memory, levels.shapes)
        return DetectorOutput(
            boxes_cxcywh=self._boxes(queries, chosen.sigmoid()),
            logits={
                "coco": _logits(queries, self.objectness_coco),
                "sa1b": _logits(queries, self.objectness_sa1b),
            },
            location_boxes_cxcywh=box_logits.sigmoid(),
            location_logits=location_logits,
            queries=queries,
        )

    def propose(
        self, hidden_states: Sequence[Tensor], objectness_mix: ObjectnessMix | None = None
    ) -> tuple[Proposals, ...]:
        """Per picture the Q boxes of the last layer with their objectness, best first.

        `objectness_mix` are exponents of the two heads; None is the model's own.
        """
        detected = self(hidden_states)
        # Stable, so that equal scores keep the order of the queries on every device.
        scores, order = self.score(detected, objectness_mix).sort(
            dim=1, descending=True, stable=True
        )
        boxes_cxcywh = detected.boxes_cxcywh[:, -1].gather(1, order[..., None].expand(-1, -1, 4))
        boxes = box_cxcywh_to_xyxy(boxes_cxcywh)
        return tuple(Proposals(*pair) for pair in zip(boxes, scores, strict=True))

    def score(self, output: DetectorOutput, objectness_mix: ObjectnessMix | None = None) -> Tensor:
        """Fuse both heads of the last layer into one objectness (paper 3.1).

        (B, Q) in [0, 1]: sigmoid(coco)^0.4 * sigmoid(sa1b)^0.6, or with other exponents.
        """
        coco, sa1b = objectness_mix or self.config.objectness_mix
        last = {head: logits[:, -1].sigmoid() for head, logits in output.logits.items()}
        return last["coco"] ** coco * last["sa1b"] ** sa1b

    def _levels(self, features: Tensor) -> FeatureLevels:
        maps = [project(features) for project in self.feature_pyramid]
        shapes = tuple((level.shape[2], level.shape[3]) for level in maps)
        positions = [
            grid_positions(shape, self.config.width, features.device) + embedding
            for shape, embedding in zip(shapes, self.level_embedding, strict=True)
        ]
        return FeatureLevels(
            features=torch.cat([level.flatten(2).mT for level in maps], dim=1),
            positions=torch.cat(positions)[None].to(features.dtype),
            shapes=shapes,
        )

    def _encode(self, levels: FeatureLevels) -> Tensor:
        centres = [grid_centres(shape, levels.features.device) for shape in levels.shapes]
        references = torch.cat(centres)[None]
        hidden = levels.features
        for layer in self.encoder:
            hidden = layer(hidden, levels, references)
        return hidden

    def _location_guesses(
        self, shapes: Sequence[Size], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """(K, 4) cxcywh logits of the small box around each location, and (K,) validity."""
        guesses = []
        for level, shape in enumerate(shapes):
            centres = grid_centres(shape, device)
            # A box of 0.05 of the picture on the finest level, twice that on each coarser one.
            guesses.append(torch.cat([centres, torch.full_like(centres, 0.05 * 2**level)], dim=1))
        boxes_cxcywh = torch.cat(guesses)
        # On maps of 64 x 64 and more the outermost ring of cells fails this: its centres lie at
        # 0.008. In logit space an invalid box is infinite, and stays so whatever is added.
        valid = ((boxes_cxcywh > 0.01) & (boxes_cxcywh < 0.99)).all(dim=1)
        return boxes_cxcywh.logit().masked_fill(~valid[:, None], math.inf), valid

    def _decode(self, chosen: Tensor, memory: Tensor, shapes: Sequence[Size]) -> Tensor:
        """(B, Q, 4) box logits of the chosen locations -> (B, L, Q, d) states of every layer."""
        width = self.config.width
        references = chosen.sigmoid()
        embedding = sine_features(2 * math.pi * references, width // 2).flatten(-2)
        embedding = self.query_position_norm(self.query_position(embedding.to(memory.dtype)))
        # Positions go to every layer, content to the first alone.
        positions = embedding[..., :width]
        hidden = self.query_content.weight.expand(len(chosen), -1, -1)
        states = []
        for layer in self.decoder:
            hidden = layer(hidden, positions, references, memory, shapes)
            states.append(hidden)
        return torch.stack(states, dim=1)

    def _boxes(self, queries: Tensor, references: Tensor) -> Tensor:
        """(B, L, Q, 4): layer l adds its correction to layer l - 1's own box.

        References stay the chosen locations for every layer, so a box is the sum of its layer's
        and the previous layer's correction to its location.
        """
        # Upstream never refreshes the references between layers, which looks like a slip, but the
        # released heads were trained with it.
        start = references.logit(eps=1e-5)
        boxes: list[Tensor] = []
        previous = start
        for layer, head in enumerate(self.box_heads[:-1]):
            delta = head(queries[:, layer])
            boxes.append((delta + previous).sigmoid())
            previous = (delta + start).sigmoid().logit(eps=1e-5)
        return torch.stack(boxes, dim=1)


def _logits(queries: Tensor, heads: nn.ModuleList) -> Tensor:
    """(B, L, Q, d) states -> (B, L, Q) logits, one linear head per layer."""
    logits = [head(queries[:, layer]) for layer, head in enumerate(heads)]
    return torch.stack(logits, dim=1).squeeze(-1).float()
