"""Time of the region encoder, plain against ours: `python -m benchmarks.region_encoder`.

Sizes, weights' scale and the 49 boxes are those of the recorded fixture A; one thread.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from groma.config import GromaConfig
from groma.model.region_encoder import LEVEL_SCALES, FusionRound, RegionEncoder
from groma.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh

PARITY = Path(__file__).parents[1] / "tests" / "data" / "parity"
OFFICIAL_SECONDS = 0.49
REPEATS = 7


def plain_resize(feature_map: Tensor, size: int) -> Tensor:
    return F.interpolate(feature_map, size=(size, size), mode="bilinear", align_corners=True)


def plain_fuse(encoder: RegionEncoder, hidden_states: Sequence[Tensor]) -> list[Tensor]:
    """The paper's order of operations: resize, append coordinates, convolve, mix."""
    maps = []
    for hidden, conv, scale in zip(
        hidden_states, encoder.fusion.input_convs, LEVEL_SCALES, strict=True
    ):
        large = plain_resize(hidden, scale * hidden.shape[-1])
        steps = torch.linspace(-1, 1, large.shape[-1], dtype=large.dtype)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        coordinates = torch.stack([x, y]).expand(len(large), -1, -1, -1)
        maps.append(conv(torch.cat([large, coordinates], dim=1)).contiguous())
    for fusion_round in encoder.fusion.rounds:
        assert isinstance(fusion_round, FusionRound)
        quarter = maps[0].shape[1] // 4
        mixed = []
        for level, own in enumerate(maps):
            coarser, finer = maps[min(level + 1, 2)], maps[max(level - 1, 0)]
            borrowed = [coarser[:, -quarter:], finer[:, -2 * quarter : -quarter]]
            resized = [plain_resize(part, own.shape[-1]) for part in borrowed]
            mixed.append(torch.cat([own[:, : -2 * quarter], *resized], dim=1))
        maps = [F.relu(fusion_round.norm(fusion_round.conv(level))) for level in mixed]
    return maps


def plain_roi_align(feature_map: Tensor, windows: Tensor, bins: int, ratio: int) -> Tensor:
    """Every sample of every bin from its four neighbours, whether it lies on the map or not."""
    size = feature_map.shape[-1]
    start, stop = windows[:, :2, None], windows[:, 2:, None]
    steps = (torch.arange(bins * ratio) + 0.5) / (bins * ratio)
    position = start + (stop - start) * steps - 0.5
    inside = ((position >= -1) & (position <= size)).to(feature_map.dtype)
    position = position.clamp(0, size - 1)
    low = position.long()
    high = (low + 1).clamp(max=size - 1)
    share = (position - low).to(feature_map.dtype)
    total = 0.0
    for y, share_y in ((low[:, 1], 1 - share[:, 1]), (high[:, 1], share[:, 1])):
        for x, share_x in ((low[:, 0], 1 - share[:, 0]), (high[:, 0], share[:, 0])):
            weight = (share_y * inside[:, 1])[:, :, None] * (share_x * inside[:, 0])[:, None, :]
            total = total + weight * feature_map[:, y[:, :, None], x[:, None, :]]
    return F.avg_pool2d(total.transpose(0, 1), ratio)


def plain_pool(encoder: RegionEncoder, maps: Sequence[Tensor], boxes: Tensor) -> list[Tensor]:
    windows = encoder.windows(boxes)
    return [
        plain_roi_align(
            level[0], windows * level.shape[-1], encoder.roi_size, encoder.sampling_ratio
        )
        for level in maps
    ]


def plain_forward(encoder: RegionEncoder, maps: Sequence[Tensor], boxes: Tensor) -> Tensor:
    pooled = plain_pool(encoder, maps, boxes)
    mixed = sum(conv(level) for conv, level in zip(encoder.level_convs, pooled, strict=True))
    appearance = encoder.flatten(F.relu(mixed).flatten(1))
    position = encoder.box_embedding(box_xyxy_to_cxcywh(boxes).to(appearance.dtype))
    return encoder.projection(appearance + position)


def seconds(action: Callable[[], object]) -> float:
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


@torch.inference_mode()
def measure(encoder: RegionEncoder, dtype: torch.dtype, boxes: Tensor) -> dict[str, list[float]]:
    """Seconds per stage: plainly written, and ours."""
    encoder = encoder.to(dtype).eval()
    channels = encoder.get_parameter("level_convs.0.weight").shape[1]
    hidden = [torch.randn(1, channels, 32, 32).to(dtype) for _ in LEVEL_SCALES]
    maps = encoder.fuse(hidden)
    plain_maps = [level.contiguous() for level in maps]
    owners = torch.zeros(len(boxes), dtype=torch.int64)
    windows = encoder.windows(boxes)
    stages = {
        "fuse (once per picture)": [
            seconds(lambda: plain_fuse(encoder, hidden)),
            seconds(lambda: encoder.fuse(hidden)),
        ],
        "RoIAlign of all boxes": [
            seconds(lambda: plain_pool(encoder, plain_maps, boxes)),
            seconds(lambda: encoder.pool(maps, windows, owners)),
        ],
        "RoIAlign and all after it": [
            seconds(lambda: plain_forward(encoder, plain_maps, boxes)),
            seconds(lambda: encoder(maps, [boxes])),
        ],
    }
    fuse, after = stages["fuse (once per picture)"], stages["RoIAlign and all after it"]
    stages["together"] = [a + b for a, b in zip(fuse, after, strict=True)]
    return stages


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = json.loads((PARITY / "fixture_a.json").read_text())["config_json"]
    recorded = load_file(PARITY / "fixture_a.safetensors")["selected_boxes_0"]
    boxes = box_cxcywh_to_xyxy(recorded)
    print(f"{'milliseconds, one thread':28}{'plain':>9}{'ours':>9}{'ratio':>8}")
    for compat in (True, False):
        config = GromaConfig.from_dict(settings)
        config.compat = compat
        for dtype in (torch.float32, torch.bfloat16):
            windows = "released windows" if compat else "true windows"
            print(f"\n{str(dtype).removeprefix('torch.')}, {windows}, {len(boxes)} boxes")
            for stage, (plain, ours) in measure(RegionEncoder(config), dtype, boxes).items():
                print(f"  {stage:26}{plain * 1e3:9.1f}{ours * 1e3:9.1f}{plain / ours:8.1f}")
    print(f"\nThe official code took {OFFICIAL_SECONDS * 1e3:.0f} ms in float32 on its recording.")


if __name__ == "__main__":
    main()
