"""Weighted cross alignment against its formula step by step, and the command on a tiny CLIP."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from groma.alignment import (
    AlignmentSettings,
    Clip,
    align,
    align_picture,
    crops,
    square_around,
    weights,
)
from groma.cli.main import main
from groma.named_regions import Region
from groma.types import GromaError

CODE = AlignmentSettings()
PAPER = replace(CODE, unit_sums=False)
LETTERS = [chr(code) for code in range(33, 127)]
TOKENS = [*LETTERS, *[f"{letter}</w>" for letter in LETTERS], "<|startoftext|>", "<|endoftext|>"]


def units(seed: int, *shape: int) -> Tensor:
    """Features of length 1."""
    drawn = torch.randn(*shape, 16, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=-1, keepdim=True)


def by_hand(
    whole: np.ndarray,
    views: np.ndarray,
    label: np.ndarray,
    descriptions: np.ndarray,
    unit_sums: bool,
    objectness: np.ndarray,
) -> float:
    """The score in numpy, one view and one description after the other."""
    likeness = [objectness[i] * np.exp(np.exp(4) * (whole @ view)) for i, view in enumerate(views)]
    of_views = [each / sum(likeness) for each in likeness]
    likeness = [np.exp(np.exp(2) * (label @ text)) for text in descriptions]
    of_texts = [each / sum(likeness) for each in likeness]
    score = 0.0
    for view_weight, view in zip(of_views, views, strict=True):
        for text_weight, text in zip(of_texts, descriptions, strict=True):
            score += view_weight * text_weight * (view @ text)
    if unit_sums:
        seen = sum(w * view for w, view in zip(of_views, views, strict=True))
        told = sum(w * text for w, text in zip(of_texts, descriptions, strict=True))
        score /= np.sqrt(seen @ seen) * np.sqrt(told @ told)
    return score


@pytest.mark.parametrize("settings", [CODE, PAPER], ids=["code", "paper"])
@pytest.mark.parametrize(("num_views", "num_texts"), [(1, 1), (1, 5), (7, 1), (9, 4), (60, 50)])
@pytest.mark.parametrize("with_objectness", [False, True])
def test_the_score_is_the_formula(
    settings: AlignmentSettings, num_views: int, num_texts: int, with_objectness: bool
) -> None:
    given = (units(1), units(2, num_views), units(3), units(4, num_texts))
    objectness = torch.rand(num_views) + 0.01 if with_objectness else torch.ones(num_views)
    expected = by_hand(
        *(part.double().numpy() for part in given), settings.unit_sums, objectness.double().numpy()
    )
    ours = align(*given, settings, objectness if with_objectness else None)
    assert float(ours) == pytest.approx(expected, abs=1e-5)


def test_one_view_that_is_the_picture_and_one_description_make_a_cosine() -> None:
    whole, text = units(1), units(2)
    for settings in (CODE, PAPER):
        score = align(whole, whole[None], text, text[None], settings)
        assert float(score) == pytest.approx(float(whole @ text), abs=1e-6)


@given(st.integers(1, 8), st.integers(0, 99))
def test_weights_sum_to_one_and_rank_as_likeness(count: int, seed: int) -> None:
    whole, parts = units(seed), units(seed + 1, count)
    drawn = weights(whole, parts, 5.0)
    assert float(drawn.sum()) == pytest.approx(1, abs=1e-5)
    assert drawn.argsort().tolist() == (parts @ whole).argsort().tolist()


def test_views_alike_count_alike_and_what_is_no_thing_counts_nothing() -> None:
    whole, part = units(1), units(2)
    three = part.expand(3, -1)
    assert weights(whole, three, 50.0).tolist() == pytest.approx([1 / 3] * 3)
    assert weights(whole, three, 50.0, torch.tensor([0.2, 0.0, 0.6])).tolist() == pytest.approx(
        [0.25, 0, 0.75]
    )
    assert weights(whole, three, 50.0, torch.zeros(3)).tolist() == pytest.approx([1 / 3] * 3)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(0, 99))
def test_crops_are_squares_inside_the_picture(height: int, width: int, seed: int) -> None:
    settings = AlignmentSettings(num_crops=7, smallest_crop=0.5, seed=seed)
    drawn = crops((height, width), settings)
    assert drawn == crops((height, width), settings)
    assert len(drawn) == 7
    for x1, y1, x2, y2 in drawn:
        assert x2 - x1 == pytest.approx(y2 - y1)
        assert (x2 - x1) / min(height, width) + 1e-6 >= 0.5
        assert (x2 - x1) / min(height, width) <= 0.9 + 1e-6
        assert min(x1, y1) >= 0
        assert x2 <= width + 1e-6
        assert y2 <= height + 1e-6


@given(st.integers(1, 90), st.integers(1, 90), *[st.floats(0, 1)] * 4)
def test_a_square_holds_its_box_where_there_is_room(
    height: int, width: int, a: float, b: float, c: float, d: float
) -> None:
    box = (min(a, b) * width, min(c, d) * height, max(a, b) * width, max(c, d) * height)
    x1, y1, x2, y2 = square_around(box, (height, width))
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert x2 - x1 == y2 - y1 or max(x2 - x1, y2 - y1) > min(height, width)
    assert x1 <= box[0] + 1 and x2 >= box[2] - 1
    assert y1 <= box[1] + 1 and y2 >= box[3] - 1


@pytest.mark.parametrize(
    "wrong", [{"num_crops": -1}, {"smallest_crop": 0}, {"smallest_crop": 0.95}, {"largest_crop": 2}]
)
def test_settings_out_of_range_are_one_sentence(wrong: dict) -> None:
    with pytest.raises(GromaError, match="crop"):
        AlignmentSettings(**wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of random weights that spells every letter."""
    made = tmp_path_factory.mktemp("clip")
    part = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = part | {"vocab_size": len(TOKENS), "eos_token_id": len(TOKENS) - 1}
    vision = part | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(made)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(TOKENS)}, merges=[])
    CLIPProcessor(CLIPImageProcessorPil(**size), tokenizer).save_pretrained(made)
    return made


@pytest.fixture
def picture() -> Image.Image:
    noise = torch.randint(0, 255, (60, 90, 3), generator=torch.Generator().manual_seed(0))
    return Image.fromarray(noise.byte().numpy())


def test_features_are_those_of_transformers(folder: Path, picture: Image.Image) -> None:
    clip = Clip(str(folder))
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=["a dog", "x" * 20], images=picture, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**inputs)
    torch.testing.assert_close(clip.images([picture]), expected.image_embeds)
    torch.testing.assert_close(clip.texts(["a dog", "x" * 20]), expected.text_embeds)
    assert clip.texts(["long " * 99] * 70).shape == (70, 8)


def test_every_description_has_the_view_it_fits_best(folder: Path, picture: Image.Image) -> None:
    clip = Clip(str(folder))
    boxes = [(0, 0, 30, 30), (40.5, 10, 80, 55), (0, 0, 90, 60)]
    regions = [Region(i, box, box, 0.5) for i, box in enumerate(boxes)]
    told = {"dog": ["four legs", "a tail"], "cat": []}
    alignment = align_picture(picture, told, clip, CODE, regions)
    assert alignment.views == tuple(boxes)
    assert set(alignment.scores) == {"dog", "cat"}
    assert list(alignment.scores.values()) == sorted(alignment.scores.values(), reverse=True)
    assert alignment.fits["cat"] == ()
    cut = [picture.crop(square_around(box, (60, 90))) for box in boxes]
    likeness = clip.texts(told["dog"]) @ clip.images(cut).T
    assert [fit.view for fit in alignment.fits["dog"]] == likeness.argmax(dim=1).tolist()
    assert [fit.description for fit in alignment.fits["dog"]] == told["dog"]
    twice = align_picture(picture, told, clip, CODE, [*regions, *regions])
    for once, again in zip(alignment.fits["dog"], twice.fits["dog"], strict=True):
        # Of equal views the first; in a larger batch the last digit differs, on some processors.
        assert (again.description, again.view) == (once.description, once.view)
        assert again.similarity == pytest.approx(once.similarity, abs=1e-5)


def test_without_views_the_whole_picture_counts(folder: Path, picture: Image.Image) -> None:
    clip = Clip(str(folder))
    for settings, regions in ((replace(CODE, num_crops=0), None), (CODE, [])):
        alignment = align_picture(picture, {"dog": []}, clip, settings, regions)
        assert alignment.views == ((0, 0, 90, 60),)
        plain = clip.images([picture])[0] @ clip.texts(["a photo of a dog."])[0]
        assert alignment.scores["dog"] == pytest.approx(float(plain), abs=1e-5)
    with pytest.raises(GromaError, match="no label"):
        align_picture(picture, {}, clip, CODE)


@pytest.fixture
def files(tmp_path: Path, picture: Image.Image) -> Path:
    picture.save(tmp_path / "picture.png")
    (tmp_path / "labels.txt").write_text("dog\n\ncat\n", encoding="utf-8")
    told = {"dog": ["four legs", "a tail"], "cat": ["whiskers"], "cow": ["horns"]}
    (tmp_path / "descriptions.json").write_text(json.dumps(told), encoding="utf-8")
    return tmp_path


def command(files: Path, folder: Path, *more: str) -> int:
    texts = ("--labels", files / "labels.txt", "--descriptions", files / "descriptions.json")
    given = ("align", files / "picture.png", *texts, "--clip", folder, *more)
    return main([str(part) for part in given])


@pytest.mark.parametrize("views", ["regions", "crops"])
def test_the_command_scores_and_draws(files: Path, folder: Path, capsys, views: str) -> None:
    save = str(files / "out.png")
    options = ("--views", views, "--num-crops", "5", "--model", "groma-mini")
    assert command(files, folder, *options, "--save", save) == 0
    table = capsys.readouterr().out
    assert "dog" in table and "cat" in table and "cow" not in table
    with Image.open(save) as drawn, Image.open(files / "picture.png") as before:
        assert drawn.size == before.size
        assert np.any(np.asarray(drawn) != np.asarray(before.convert("RGB")))
    assert command(files, folder, *options, "--json", "--plain-sums") == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["scores"]) == {"dog", "cat"}
    assert {fit["description"] for fit in data["fits"]["dog"]} == {"four legs", "a tail"}
    if views == "crops":
        assert len(data["views"]) == 5


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("labels.txt", "\n \n", "names no label"),
        ("labels.txt", b"\xff", "no text in UTF-8"),
        ("descriptions.json", "[", "must be JSON"),
        ("descriptions.json", '["four legs"]', "lists of sentences"),
        ("descriptions.json", '{"dog": "four legs"}', "lists of sentences"),
        ("descriptions.json", '{"dog": [1]}', "lists of sentences"),
    ],
)
def test_wrong_files_are_one_sentence(
    files: Path, folder: Path, capsys, file: str, content: str | bytes, sentence: str
) -> None:
    (files / file).write_bytes(content.encode() if isinstance(content, str) else content)
    assert command(files, folder) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_what_is_no_clip_is_one_sentence(files: Path, capsys) -> None:
    assert command(files, files) == 2
    assert "no CLIP" in capsys.readouterr().err
