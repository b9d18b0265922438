"""Pictures that are shown again and again, each time a little different."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groma.data.augment import redraw
from groma.dice import Dice
from groma.finetune.lora_examples import spell
from groma.finetune.seen_pictures import TrainingVision
from groma.finetune.variation import move_boxes, vary
from groma.text.template import Template
from tests import talk
from tests.groma.finetune import lora_case

SIDE = 128
EDGES = torch.tensor([[0.02, 0.3, 0.35, 0.7], [0.5, 0.1, 0.97, 0.6]])


def dice(seed: int) -> Dice:
    return Dice(np.random.SeedSequence(seed))


def board() -> Image.Image:
    """Grey, with a red and a blue rectangle at `EDGES`."""
    pixels = np.full((320, 480, 3), 120, np.uint8)
    for box, colour in zip(EDGES.tolist(), ((200, 30, 30), (30, 30, 200)), strict=True):
        x1, y1, x2, y2 = (round(v * side) for v, side in zip(box, (480, 320) * 2, strict=True))
        pixels[y1:y2, x1:x2] = colour
    return Image.fromarray(pixels)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_on_what_they_enclose(seed: int) -> None:
    varied = vary(board(), EDGES, SIDE, dice(seed))
    pixels = np.asarray(varied.picture, np.int16)
    assert pixels.shape == (SIDE, SIDE, 3)
    for box, colour in zip(move_boxes(EDGES, varied.view).tolist(), (0, 2), strict=True):
        is_it = pixels[..., colour] - pixels[..., 2 - colour] > 25
        rows, columns = np.nonzero(is_it)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.array(found) / SIDE == pytest.approx(box, abs=2.5 / SIDE)


def test_nothing_pointed_at_is_cut_and_drawn_boxes_are_a_little_off() -> None:
    for seed in range(30):
        ground = move_boxes(EDGES, vary(board(), EDGES, SIDE, dice(seed)).view)
        sides = (ground[:, 2:] - ground[:, :2]).repeat(1, 2)
        assert ((ground >= 0) & (ground <= 1)).all() and (sides > 0.2).all()
        off = (redraw(ground, dice(seed)) - ground).abs() / sides
        assert 0 < off.max() < 0.07


def test_pictures_differ_from_reading_to_reading(tmp_path: Path) -> None:
    model = talk.tiny_groma().model
    samples = lora_case.samples(tmp_path)
    shown = spell(samples, Template(talk.toy.tokenizer("llama"), model.tokens), 1024).shown
    for learns in (False, True):
        vision = TrainingVision(model, shown, learns, 10**9, variation=0.5, seed=3)
        plain = vision.encode(0).image_tokens
        seen = [vision.encode(0, reading).image_tokens for reading in range(20)]
        same = [torch.equal(tokens, plain) for tokens in seen]
        assert 3 < sum(same) < 17
        varied = [tokens for tokens, is_plain in zip(seen, same, strict=True) if not is_plain]
        assert not torch.equal(varied[0], varied[1])
        assert all(tokens.requires_grad == learns for tokens in seen)
        again = TrainingVision(model, shown, learns, 0, variation=0.5, seed=3)
        assert all(torch.equal(again.encode(0, i).image_tokens, seen[i]) for i in range(20))
