"""What a camera and a file format do to a finished picture; boxes stay where they are."""

import cv2
import numpy as np

from groma.dice import Dice
from recipes.scenes.scene import Pixels


def photograph(pixels: Pixels, dice: Dice) -> Pixels:
    """Blur, light, noise and JPEG, each sometimes; hues stay what they are.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        dice: where it comes from.
    """
    if dice.maybe(0.2):
        sigma = dice.uniform(0.3, 0.9) * min(pixels.shape[:2]) / 224
        pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)
    if dice.maybe(0.45):
        pixels = _relight(pixels, dice)
    if dice.maybe(0.2):
        pixels = _add_noise(pixels, dice.uniform(2, 12), dice)
    if dice.maybe(0.3):
        pixels = _compress(pixels, 25 + dice.below(70))
    return pixels


def _relight(pixels: Pixels, dice: Dice) -> Pixels:
    """Contrast, brightness and gamma, and a cast of at most 6 % per channel."""
    ramp = np.arange(256, dtype=np.float32) / 255
    ramp = ramp ** dice.uniform(0.8, 1.25)
    ramp = (ramp - 0.5) * dice.uniform(0.75, 1.2) + 0.5 + dice.uniform(-0.06, 0.06)
    table = np.stack([ramp * dice.uniform(0.94, 1.06) for _ in range(3)], axis=1)
    return cv2.LUT(pixels, (table * 255).clip(0, 255).astype(np.uint8)[:, None])


def _add_noise(pixels: Pixels, sigma: float, dice: Dice) -> Pixels:
    """Independent noise per channel, cut from one random strip at random offsets."""
    height, width = pixels.shape[:2]
    strip = dice.arrays.standard_normal(height * width // 2, np.float32) * sigma
    starts = dice.arrays.integers(0, max(1, strip.size - width * 3), height)
    noise = strip[starts[:, None] + np.arange(width * 3)].reshape(height, width, 3)
    return cv2.add(pixels, noise, dtype=cv2.CV_8U)


def _compress(pixels: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])
