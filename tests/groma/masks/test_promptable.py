"""Segmenters against transformers' own use of them: pixels in, masks of the picture's size out."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from groma.config import IMAGE_MEAN, IMAGE_STD
from groma.masks.maker import load_maker
from groma.serve.engine import Asked, Engine
from groma.shapes import Box, Mask, Point
from groma.types import GromaError
from tests import talk
from tests.groma.masks.segmenters import SIDE, save_segmenter

SIZE = (90, 50)
BOXES = [Box(3, 4, 40, 80), Box(20.5, 10, 45, 33.3), Box(0, 0, 50, 90)]
POINTS = [Point(10, 70.5), Point(44, 3)]


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def segmenter(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("segmenters") / request.param
    return folder, save_segmenter(request.param, folder)


def picture() -> Image.Image:
    dice = np.random.default_rng(0)
    return Image.fromarray(dice.integers(0, 255, (*SIZE, 3), np.uint8))


@torch.no_grad()
def own_use(model: Any, several: bool, **prompts: torch.Tensor) -> list[np.ndarray]:
    """The pixels of every prompt, as transformers' documentation has it, picture and all."""
    square = np.asarray(picture().resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255
    pixels = torch.from_numpy((square - IMAGE_MEAN) / IMAGE_STD).permute(2, 0, 1)[None].float()
    found = model(pixel_values=pixels, multimask_output=several, **prompts)
    masks = F.interpolate(found.pred_masks[0], SIZE, mode="bilinear", align_corners=False) > 0
    best = found.iou_scores[0].argmax(dim=1)
    return [mask[i].numpy() for mask, i in zip(masks, best, strict=True)]


def scaled(values: list[list[float]]) -> torch.Tensor:
    height, width = SIZE
    return torch.tensor(values) * torch.tensor(
        [SIDE / width, SIDE / height] * (len(values[0]) // 2)
    )


def test_masks_of_boxes_are_those_of_transformers(segmenter: tuple[Path, Any]) -> None:
    folder, model = segmenter
    boxes = scaled([box.to_json() for box in BOXES])[None]
    expected = own_use(model, False, input_boxes=boxes)
    found = load_maker(str(folder), "cpu").look(picture()).masks(BOXES)
    assert 0 < np.mean(expected) < 1
    assert [mask.mask(SIZE).tolist() for mask in found] == [mask.tolist() for mask in expected]


def test_a_point_is_the_surest_of_several_masks(segmenter: tuple[Path, Any]) -> None:
    folder, model = segmenter
    points = scaled([[point.x, point.y] for point in POINTS])[None, :, None]
    expected = own_use(model, True, input_points=points)
    source = load_maker(str(folder), "cpu").look(picture())
    assert source.takes_points
    wanted = [m if m.any() else p.mask(SIZE) for m, p in zip(expected, POINTS, strict=True)]
    assert source.masks(POINTS) == [Mask.of(mask) for mask in wanted]


def test_a_picture_is_embedded_once_and_when_a_mask_is_asked_for(
    segmenter: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    maker: Any = load_maker(str(segmenter[0]), "cpu")
    seen: list[int] = []
    embed = maker._model.get_image_embeddings
    monkeypatch.setattr(
        maker._model, "get_image_embeddings", lambda pixels: seen.append(1) or embed(pixels)
    )
    model = talk.groma().with_masks(maker)
    chat = model.chat(picture(), max_new_tokens=30, score_threshold=0.0)
    chat.ask("What is this?")
    assert not seen
    picture_bytes = chat.image.masks.num_bytes
    chat.ask("What is [1]?", regions=[Point(10, 70)])
    chat.make_masks()
    model.chat(chat.image).make_masks()
    assert len(seen) == 1
    assert chat.image.masks.num_bytes > picture_bytes


def test_a_server_keeps_the_embedding_with_the_picture(segmenter: tuple[Path, Any]) -> None:
    engine = Engine(talk.groma().with_masks(load_maker(str(segmenter[0]), "cpu")))
    file = BytesIO()
    picture().save(file, "PNG")
    try:
        with engine.talk(file.getvalue(), ()) as chat:
            chat.ask("What is this?", max_new_tokens=20)
            reply = engine.masked(chat, file.getvalue())
        expected = load_maker(str(segmenter[0]), "cpu").look(picture())
        assert reply.masks_by == segmenter[0].name
        assert [region.mask for region in reply.regions] == expected.masks(
            [Box(*region.box) for region in reply.regions]
        )
        before = [Asked("What is this?", (), reply.text)]
        with engine.talk(file.getvalue(), before) as again:
            assert again.image.masks is chat.image.masks
    finally:
        engine.close()


def test_a_point_takes_what_the_maker_says_and_pools_its_pixels(
    segmenter: tuple[Path, Any],
) -> None:
    maker = load_maker(str(segmenter[0]), "cpu")
    chat = talk.groma().with_masks(maker).chat(picture(), max_new_tokens=4)
    chat.ask("What is [1]?", regions=[POINTS[0]])
    region = chat.conversation.regions[-1]
    (mask,) = maker.look(picture()).masks(POINTS[:1])
    assert (region.shape, region.mask, region.box) == (POINTS[0], mask, mask.box(SIZE))


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    talk.groma().model.language_model.save_pretrained(tmp_path / "other")
    for source in (str(tmp_path / "other"), str(tmp_path / "none"), "nobody/nothing"):
        with pytest.raises(GromaError, match="cannot be loaded; give a folder or an id of SAM 2"):
            load_maker(source, "cpu")
