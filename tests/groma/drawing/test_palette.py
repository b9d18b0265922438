"""The colours of regions side by side, as people see them who lack one kind of cones.

Distances are CIEDE2000 (Sharma, Wu and Dalal 2005); what dichromats see is simulated as by Machado,
Oliveira and Fernandes 2009, at full severity.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import region_colour

Array = NDArray[np.float64]

NUM_COLOURS = 20
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour: str) -> Array:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_lab(rgb: Array) -> Array:
    """CIELAB under D65 of linear RGB."""
    xyz = TO_XYZ @ rgb / TO_XYZ.sum(axis=1)
    edge = 6 / 29
    x, y, z = np.where(xyz > edge**3, np.cbrt(xyz), xyz / (3 * edge**2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: Array, other: Array) -> float:
    chroma = (np.hypot(*one[1:]) + np.hypot(*other[1:])) / 2
    stretch = 1.5 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)) / 2
    (l1, a1, b1), (l2, a2, b2) = (lab * [1, stretch, 1] for lab in (one, other))
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    t = 1 + sum(height * np.cos(np.radians(n * hue + shift)) for height, n, shift in waves)
    off = (lightness - 50) ** 2
    by_lightness = (l2 - l1) / (1 + 0.015 * off / np.sqrt(20 + off))
    by_chroma = (c2 - c1) / (1 + 0.045 * chroma)
    by_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    blue = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    rotation = -2 * np.sin(blue) * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    squares = by_lightness**2 + by_chroma**2 + by_hue**2 + rotation * by_chroma * by_hue
    return float(np.sqrt(squares))


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (61, -5, 29), 22.8977),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_distance_is_the_published_one(one: tuple, other: tuple, wanted: float) -> None:
    one, other = np.array(one, dtype=float), np.array(other, dtype=float)
    assert ciede2000(one, other) == pytest.approx(wanted, abs=5e-5)
    assert ciede2000(other, one) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize("sight", SIGHT)
def test_neighbours_are_told_apart(sight: str) -> None:
    """Found regions go up the ring from its beginning, those of the user down from its end."""
    ids = range(NUM_REGION_TOKENS - 4, NUM_REGION_TOKENS + NUM_COLOURS)
    seen = [to_lab(np.clip(SIGHT[sight] @ linear(region_colour(i)), 0, 1)) for i in ids]
    least = {
        apart: min(ciede2000(a, b) for a, b in zip(seen, seen[apart:], strict=False))
        for apart in (1, 2, 3, 4)
    }
    print(sight, {apart: round(distance, 1) for apart, distance in least.items()})  # noqa: T201
    assert min(least.values()) > 12
