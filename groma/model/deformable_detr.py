"""Encoder and decoder layers of Deformable DETR (paper 3.1; arXiv 2010.04159, section 4)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import RegionProposerConfig
from groma.ops.deformable_attention import deformable_attention
from groma.types import Size


@dataclass(frozen=True)
class FeatureLevels:
    """Feature maps flattened into one sequence, finest level first."""

    features: Tensor  # (B, K, d), K the sum of all h * w
    positions: Tensor  # (1, K, d) sine position plus level embedding
    shapes: tuple[Size, ...]  # (h, w) of every level


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention: every query samples a few points of every level."""

    def __init__(self, config: RegionProposerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.num_levels = config.num_levels
        self.num_points = config.num_points
        samples = config.num_heads * config.num_levels * config.num_points
        self.sampling_offsets = nn.Linear(config.width, 2 * samples)
        self.attention_weights = nn.Linear(config.width, samples)
        self.value_proj = nn.Linear(config.width, config.width)
        self.output_proj = nn.Linear(config.width, config.width)

    def initialise(self) -> None:
        """Start with uniform weights and one sampling direction per head, point k at distance k."""
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        for linear in (self.attention_weights, self.sampling_offsets):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        angles = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        distances = torch.arange(1, self.num_points + 1)
        offsets = directions[:, None, None] * distances[None, None, :, None]
        offsets = offsets.expand(-1, self.num_levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.reshape(-1))

    def forward(
        self, queries: Tensor, references: Tensor, features: Tensor, shapes: Sequence[Size]
    ) -> Tensor:
        """Attend with (B, Q, d) queries, position included, to a few points around references.

        `references` are (B or 1, Q, 2) points or (B or 1, Q, 4) cxcywh boxes, both in [0, 1];
        `features` (B, K, d) all levels in one sequence, and `shapes` their (h, w). Returns
        (B, Q, d).
        """
        samples = (self.num_heads, self.num_levels, self.num_points)
        values = self.value_proj(features).unflatten(-1, (self.num_heads, -1))
        # fp32: in 16 bit a sampling position is off by whole pixels.
        offsets = self.sampling_offsets(queries).unflatten(-1, (*samples, 2)).float()
        weights = self.attention_weights(queries).unflatten(-1, (self.num_heads, -1))
        # One softmax over all levels and points together: a head may look at one level alone.
        weights = weights.softmax(dim=-1).unflatten(-1, samples[1:])
        centres = references[:, :, None, None, None, :2]
        if references.shape[-1] == 2:
            # Around a point offsets count cells; around a box they count shares of half its size.
            extents = offsets.new_tensor([(w, h) for h, w in shapes])[:, None]
            locations = centres + offsets / extents
        else:
            extents = references[:, :, None, None, None, 2:]
            locations = centres + offsets / self.num_points * extents * 0.5
        return self.output_proj(deformable_attention(values, shapes, locations, weights))


class _SelfAttention(nn.Module):
    """Attention among the queries; positions enter queries and keys, not values."""

    def __init__(self, config: RegionProposerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(config.width, config.width)
        self.k_proj = nn.Linear(config.width, config.width)
        self.v_proj = nn.Linear(config.width, config.width)
        self.out_proj = nn.Linear(config.width, config.width)

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """Mix (B, Q, d) queries with each other."""
        # As in DETR: where a query is decides whom it attends to, not what it is told.
        placed = hidden + positions
        heads = [
            projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projected in (self.q_proj(placed), self.k_proj(placed), self.v_proj(hidden))
        ]
        mixed = F.scaled_dot_product_attention(*heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Deformable self-attention over all locations of all levels, post-norm."""

    def __init__(self, config: RegionProposerConfig) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.encoder_ffn_width)
        self.fc2 = nn.Linear(config.encoder_ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, levels: FeatureLevels, references: Tensor) -> Tensor:
        """Refine (B, K, d) location features; `references` (1, K, 2) are the locations."""
        placed = hidden + levels.positions
        attended = self.self_attn(placed, references, hidden, levels.shapes)
        hidden = self.self_attn_layer_norm(hidden + self.dropout(attended))
        return self.final_layer_norm(hidden + self.dropout(self.fc2(F.relu(self.fc1(hidden)))))


class DecoderLayer(nn.Module):
    """Self-attention among queries, deformable attention to the picture, post-norm."""

    def __init__(self, config: RegionProposerConfig) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.encoder_attn = DeformableAttention(config)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = nn.Linear(config.width, config.decoder_ffn_width)
        self.fc2 = nn.Linear(config.decoder_ffn_width, config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        hidden: Tensor,
        positions: Tensor,
        references: Tensor,
        memory: Tensor,
        shapes: Sequence[Size],
    ) -> Tensor:
        """Refine (B, Q, d) queries around `references` (B, Q, 4), cxcywh in [0, 1]."""
        attended = self.self_attn(hidden, positions)
        hidden = self.self_attn_layer_norm(hidden + self.dropout(attended))
        attended = self.encoder_attn(hidden + positions, references, memory, shapes)
        hidden = self.encoder_attn_layer_norm(hidden + self.dropout(attended))
        return self.final_layer_norm(hidden + self.dropout(self.fc2(F.relu(self.fc1(hidden)))))


def sine_features(angles: Tensor, width: int) -> Tensor:
    """Sine and cosine, interleaved, of (...,) radians at temperature 10000: (..., width)."""
    exponents = torch.arange(0, width, 2, device=angles.device) / width
    scaled = angles[..., None] / 10000.0**exponents
    return torch.stack([scaled.sin(), scaled.cos()], dim=-1).flatten(-2)


def grid_centres(shape: Size, device: torch.device) -> Tensor:
    """(h * w, 2) x, y of the cell centres in [0, 1], row-major."""
    height, width = shape
    y, x = torch.meshgrid(
        (torch.arange(height, device=device) + 0.5) / height,
        (torch.arange(width, device=device) + 0.5) / width,
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1)


def grid_positions(shape: Size, width: int, device: torch.device) -> Tensor:
    """(h * w, d) sine position of every cell: first half for y, second half for x."""
    x, y = (2 * math.pi * grid_centres(shape, device)).unbind(dim=-1)
    return torch.cat([sine_features(y, width // 2), sine_features(x, width // 2)], dim=-1)
