"""A picture looked at in tiles besides the whole of it, by both architectures."""

from dataclasses import asdict
from functools import cache
from io import BytesIO

import pytest
import torch
from PIL import Image

from groma.chat.chat import Groma
from groma.chat.settings import GenerationSettings
from groma.image import to_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.ops.boxes import box_xyxy_to_cxcywh
from groma.ops.tiles import best_tiles, tile_windows, to_tile
from groma.serve.engine import Engine
from groma.types import EncodedImage, GromaError
from tests import talk
from tests.groma.model import test_convolutional_groma as convolutional
from tests.groma.train import tiny_language

KINDS = ("paper", "compat", "convolutional")
SMALL = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.46, 0.46, 0.54, 0.54], [0.7, 0.1, 0.9, 0.3]])
LARGE = torch.tensor([[0.1, 0.1, 0.9, 0.9], [0.0, 0.2, 1.0, 0.5]])


@cache
def groma(kind: str) -> Groma:
    if kind != "convolutional":
        return talk.tiny_groma(compat=kind == "compat")
    torch.manual_seed(0)
    model = GromaForConditionalGeneration(convolutional.config()).eval()
    return Groma(model, tiny_language.tokenizer())


@cache
def encoded(kind: str, detail: int = 2) -> EncodedImage:
    return groma(kind).encode_image(talk.picture(), detail=detail)


def tokens(kind: str, boxes: torch.Tensor, detail: int = 2) -> torch.Tensor:
    with torch.no_grad():
        return groma(kind).model.encode_regions(encoded(kind, detail), boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_without_tiles_a_picture_is_seen_as_ever(kind: str) -> None:
    image, model = encoded(kind, 1), groma(kind).model
    assert image.tiles is None
    plain = to_pixels(talk.picture(), model.config.image_size)
    with torch.no_grad():
        (seen,) = model.encode_image(plain.pixels[None], [talk.SIZE])
    assert torch.equal(image.proposals.boxes, seen.proposals.boxes)
    for ours, theirs in zip(image.feature_maps, seen.feature_maps, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("detail", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_tiles_leave_what_the_whole_picture_says(kind: str, detail: int) -> None:
    whole, tiled = encoded(kind, 1), encoded(kind, detail)
    assert tiled.tiles is not None
    assert len(tiled.tiles.windows) == detail**2
    assert torch.equal(whole.image_tokens, tiled.image_tokens)
    assert (tiled.proposals.scores.diff() <= 0).all()
    assert len(tiled.proposals.scores) <= 300
    assert tiled.num_bytes > whole.num_bytes
    if kind != "convolutional":  # there, names come from what was found in tiles too
        assert torch.equal(tokens(kind, LARGE, detail), tokens(kind, LARGE, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_region_is_pooled_from_its_tile(kind: str) -> None:
    model, windows = groma(kind).model, tile_windows(2)
    assert not torch.equal(tokens(kind, SMALL), tokens(kind, SMALL, 1))
    for box, tile in zip(SMALL, best_tiles(SMALL, windows).tolist(), strict=True):
        assert tile >= 0
        width, height = talk.picture().size
        corners = windows[tile] * torch.tensor([width, height, width, height])
        side = model.config.image_size
        shown = talk.picture().resize((side, side), Image.Resampling.BICUBIC, corners.tolist())
        alone = groma(kind).encode_image(shown)
        in_tile = to_tile(box[None], windows[tile, None])
        if kind == "convolutional":
            features, pixels = (level[tile] for level in encoded(kind).tiles.feature_maps[1:])
            torch.testing.assert_close(features, alone.feature_maps[1], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(pixels, alone.feature_maps[2], atol=1e-4, rtol=1e-4)
            continue
        # Alone it says where the box is in the tile; that part of the token is taken out.
        encoder = model.region_encoder
        with torch.no_grad():
            here, there = (
                encoder.projection(encoder.box_embedding(box_xyxy_to_cxcywh(place)))
                for place in (box[None], in_tile)
            )
            expected = model.encode_regions(alone, in_tile) - there + here
        torch.testing.assert_close(tokens(kind, box[None]), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_where_a_region_is_does_not_depend_on_tiles(kind: str) -> None:
    encoder = groma(kind).model.region_encoder
    told: list[torch.Tensor] = []
    if kind == "convolutional":
        hook = encoder.code.register_forward_pre_hook(lambda _, given: told.append(given[0]))
        boxes = SMALL
    else:
        embedding = encoder.box_embedding
        hook = embedding.register_forward_pre_hook(lambda _, given: told.append(given[0]))
        boxes = box_xyxy_to_cxcywh(SMALL)
    tokens(kind, SMALL)
    hook.remove()
    whole, *in_tiles = told
    assert torch.equal(whole, boxes)
    assert in_tiles
    for place in torch.cat(in_tiles):
        assert (place == boxes).all(dim=1).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_in_tiles_is_talked_about(kind: str) -> None:
    chat = groma(kind).chat(talk.picture(), detail=2, max_new_tokens=8)
    assert chat.image.tiles is not None
    chat.ask("What is [1]?", [talk.DOG])
    reply = chat.ask("And [1] and this?", [talk.CAT])
    assert reply.finish in ("stop", "length")


def test_one_pixel_can_be_looked_at_in_detail() -> None:
    assert groma("paper").encode_image(Image.new("RGB", (1, 1)), detail=3).tiles is not None


def test_auto_goes_by_the_size_of_the_picture() -> None:
    model = groma("paper")
    for side, per_side in ((112, 1), (224, 2), (1000, 3)):
        image = model.encode_image(Image.new("RGB", (side, 20)), detail="auto")
        assert per_side**2 == (1 if image.tiles is None else len(image.tiles.windows))


@pytest.mark.parametrize("wrong", [0, 4, True, "2", "all", None, 1.0])
def test_another_detail_is_refused_in_a_sentence(wrong: object) -> None:
    with pytest.raises(GromaError, match="detail must be one of auto, 1, 2, 3, not"):
        GenerationSettings.from_dict({"detail": wrong})


def test_a_server_looks_as_closely_as_it_is_asked() -> None:
    engine = Engine(talk.tiny_groma())
    kept = BytesIO()
    talk.picture().save(kept, "PNG")
    closely = GenerationSettings(max_new_tokens=8, detail=2)
    for settings in (closely, GenerationSettings(max_new_tokens=8)):
        with engine.talk(kept.getvalue(), (), settings.detail) as chat:
            *_, reply = engine.stream(chat, "What is this?", [talk.DOG], settings)
        alone = talk.tiny_groma().chat(talk.picture(), **asdict(settings))
        assert reply.text == alone.ask("What is this?", [talk.DOG]).text
        assert (chat.image.tiles is None) == (settings.detail == 1)
    assert engine.counts.pictures == 2
    engine.close()
