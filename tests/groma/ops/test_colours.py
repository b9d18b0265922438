import pytest
import torch

from groma.ops.colours import NAMES, name_colours


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((220, 30, 30), "red"),
        ((245, 140, 20), "orange"),
        ((240, 220, 40), "yellow"),
        ((40, 160, 60), "green"),
        ((30, 70, 200), "blue"),
        ((120, 40, 180), "purple"),
        ((250, 170, 190), "pink"),
        ((110, 70, 40), "brown"),
        ((15, 15, 18), "black"),
        ((128, 128, 130), "grey"),
        ((250, 250, 248), "white"),
    ],
)
def test_colours_have_the_names_that_people_give_them(rgb, name):
    assert NAMES[int(name_colours(torch.tensor(rgb) / 255))] == name


def test_shapes_stay():
    assert name_colours(torch.rand(2, 5, 3)).shape == (2, 5)
