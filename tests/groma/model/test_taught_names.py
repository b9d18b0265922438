"""Names that labelled boxes teach: what is recognised, and that all else stays as it was."""

import pytest
import torch

from groma.data.sample import GroundedSample
from groma.finetune.name_teaching import _regress, _Seen, _shows, teach_names
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.model.taught_names import BINS, TaughtNames, see
from groma.types import EncodedImage, Proposals
from tests import talk
from tests.groma.model.tiny import tiny_model, tiny_pixels

BOXES = torch.tensor([[0.1, 0.2, 0.6, 0.7], [0.5, 0.5, 0.9, 0.9], [0.0, 0.0, 1.0, 1.0]])


@torch.no_grad()
def encode(model: GromaForConditionalGeneration) -> EncodedImage:
    return model.encode_image(tiny_pixels(1), [(80, 100)])[0]


def test_a_box_is_seen_bin_by_bin_and_apart_from_its_picture() -> None:
    columns = torch.arange(9.0).expand(1, 9, 9)
    seen = see(columns, torch.tensor([[0.0, 0.0, 1.0, 1.0], [1 / 3, 0.0, 2 / 3, 1.0]]))
    # Three columns a bin, -4 to 4 once the mean is gone.
    assert seen[0].tolist() == pytest.approx([-3, 0, 3] * BINS)
    assert seen[1].tolist() == pytest.approx([-1, 0, 1] * BINS)
    brighter = see(columns + 5, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    torch.testing.assert_close(brighter, seen[:1])


def test_a_name_that_was_not_taught_changes_nothing() -> None:
    model = tiny_model()
    before = encode(model), model.encode_regions(encode(model), BOXES)
    model.teach(["blicket"])
    after = encode(model)
    assert torch.equal(after.proposals.scores, before[0].proposals.scores)
    assert torch.equal(after.proposals.boxes, before[0].proposals.boxes)
    assert torch.equal(model.encode_regions(after, BOXES), before[1])


@torch.no_grad()
def test_what_is_recognised_comes_first_and_is_named_and_all_else_stays() -> None:
    model = tiny_model()
    image = encode(model)
    shown = image.proposals.boxes[-1:]
    tokens = model.encode_regions(image, torch.cat([shown, BOXES]))
    model.teach(["dax", "blicket"])
    names = model.taught_names
    assert names is not None
    seen = see(image.feature_maps[1], torch.cat([shown, BOXES]))
    apart = seen[0] - seen[1:].mean(dim=0)
    names.weight[1] = 40 * apart / apart.square().sum()
    names.bias[1] = 20 - names.weight[1] @ seen[0]
    names.directions[1] = torch.arange(48.0)
    after = encode(model)
    assert torch.equal(after.proposals.boxes, image.proposals.boxes)
    assert after.proposals.scores[-1] == pytest.approx(1.0)
    policy = SelectionPolicy.of(model.config)
    best = select_regions(after.proposals.boxes, after.proposals.scores, policy)[0]
    assert torch.equal(after.proposals.boxes[best], shown[0])
    named = model.encode_regions(after, torch.cat([shown, BOXES]))
    torch.testing.assert_close(named[0], tokens[0] + torch.arange(48.0))
    quiet = ~names(image.feature_maps[1], BOXES).any(dim=1)
    assert quiet.any() and torch.equal(named[1:][quiet], tokens[1:][quiet])


def test_of_what_shows_a_thing_only_the_clearest_is_proposed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thing, part, around = [0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.3, 0.3], [0.0, 0.0, 0.6, 0.6]
    other, apart, plain = [0.1, 0.1, 0.5, 0.45], [0.7, 0.7, 0.9, 0.9], [0.2, 0.2, 0.4, 0.4]
    boxes = torch.tensor([thing, part, around, other, apart, plain])
    # (N, C): the fourth shows another thing too, and that best of all; the last shows none.
    seen = torch.tensor([[0.9, 0], [0.7, 0], [0.6, 0], [0.6, 0.8], [0.7, 0], [0, 0]])
    names = TaughtNames(2, 1, 1)
    monkeypatch.setattr(names, "forward", lambda *_: seen)
    lifted = names.lift(Proposals(boxes, torch.full((6,), 0.3)), torch.zeros(1, 3, 3))
    assert torch.equal(lifted.boxes, boxes)
    assert lifted.scores.tolist() == pytest.approx([0.9, 0.0, 0.0, 0.8, 0.7, 0.3])


def test_leaving_out_a_picture_is_fitting_without_it() -> None:
    dice = torch.Generator().manual_seed(0)
    features = torch.randn(30, 12, generator=dice)
    owners = torch.arange(30) // 6
    shows = (features[:, :2] > 0.5).float()
    tokens, proposed = torch.zeros(30, 4), torch.ones(30, dtype=torch.bool)
    seen = _Seen(features, shows, tokens, owners, proposed)
    weights, left_out = _regress(seen)
    # By definition: the rows of a picture are taken out of the same normal equations.
    mean, scale = features.mean(0), features.std(0, unbiased=False) + 1e-6
    rows, wanted = (features - mean) / scale, shows - shows.mean(0)
    for owner in range(5):
        rest = owners != owner
        gram = rows[rest].mT @ rows[rest] / 30 + 0.3 * torch.eye(12)
        fit = torch.linalg.solve(gram, rows[rest].mT @ wanted[rest] / 30)
        torch.testing.assert_close(
            left_out[~rest], rows[~rest] @ fit + shows.mean(0), atol=1e-4, rtol=1e-4
        )
    fitted = features @ weights[:-1] + weights[-1]
    assert (fitted - shows).square().mean() < (shows - shows.mean(0)).square().mean() / 2


def test_how_much_a_box_shows_goes_from_part_to_whole() -> None:
    true = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]])
    boxes = torch.tensor([[0.0, 0.0, 1.0, share] for share in (0.2, 0.3, 0.5, 0.7, 1.0)])
    shows = _shows(boxes, true, ["dax", "wug"], ["dax", "blicket"])
    assert shows[:, 0].tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)
    assert not shows[:, 1].any()


def test_labels_teach_a_model_to_recognise_what_they_show(tmp_path) -> None:
    groma = talk.tiny_groma()
    box = (0.1, 0.1, 0.5, 0.8)
    samples = []
    for seed in range(4):
        file = tmp_path / f"{seed}.png"
        talk.picture(seed).save(file)
        samples.append(GroundedSample(str(file), talk.SIZE, (box,), ("dax",), ()))
    groma.model.teach(["dax"])
    assert teach_names(groma, samples, ["dax"])
    names = groma.model.taught_names
    assert names is not None and names.weight.any() and names.directions.any()
    image = groma.encode_image(talk.picture(0))
    assert names(image.feature_maps[1], torch.tensor([box])).item() > 0.5
    assert not teach_names(groma, samples, ["dax"], stop=lambda: True)
