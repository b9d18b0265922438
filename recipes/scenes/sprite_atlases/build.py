"""Build the sprite atlases from their published sources.

`python recipes/scenes/sprite_atlases/build.py SOURCES`, where SOURCES holds the unpacked packages
named in README.md: `fluent3d/*.webp`, `fluentflat/*.svg`, `noto/NotoColorEmoji.ttf`,
`twemoji/*.png`, the pictures named by code point. Needs `resvg-py` and `fonttools`, which nothing
else here does.
"""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import resvg_py
from fontTools.ttLib import TTFont
from PIL import Image

HERE = Path(__file__).parent
NOUNS = HERE.parent / "nouns.json"
CELL, COLUMNS, QUALITY = 128, 13, 85
VISIBLE_ALPHA = 64
Reader = Callable[[str], Image.Image]


def find_picture(folder: Path, code: str, suffix: str) -> Path:
    """The file of one code point, with or without the variation selector and leading zeros."""
    for stem in (code, f"{code}-fe0f", code.zfill(4)):
        if (path := folder / f"{stem}{suffix}").exists():
            return path
    raise FileNotFoundError(f"no picture of {code} in {folder}")


def picture_reader(folder: Path, suffix: str) -> Reader:
    """Read bitmaps of a folder."""
    return lambda code: Image.open(find_picture(folder, code, suffix))


def svg_reader(folder: Path, side: int = 256) -> Reader:
    """Render the vector pictures of a folder `side` pixels wide."""

    def read(code: str) -> Image.Image:
        path = str(find_picture(folder, code, ".svg"))
        return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_path=path, width=side))))

    return read


def font_reader(path: Path) -> Reader:
    """Read the embedded colour bitmaps (CBDT) of a font."""
    font = TTFont(path)
    names = font.getBestCmap() or {}
    strike = font["CBDT"].strikeData[0]
    return lambda code: Image.open(io.BytesIO(strike[names[int(code, 16)]].imageData))


def fit(picture: Image.Image, side: int) -> np.ndarray:
    """Cut the empty border off and scale the longer side to `side`.

    Returns:
        (h, w, 4) uint8 RGBA; never enlarged.
    """
    rgba = np.asarray(picture.convert("RGBA")).astype(np.float32)
    rows, columns = np.nonzero(rgba[..., 3] >= VISIBLE_ALPHA)
    rgba = rgba[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = min(1.0, side / max(rgba.shape[:2]))
    width, height = (max(1, round(n * scale)) for n in rgba.shape[1::-1])
    rgba[..., :3] *= rgba[..., 3:] / 255
    rgba = cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA)
    rgba[..., :3] *= 255 / np.maximum(rgba[..., 3:], 1)
    return rgba.clip(0, 255).round().astype(np.uint8)


def find_parts(sprite: np.ndarray, limit: int = 3) -> list[list[int]]:
    """Connected areas of one colour that are 5-55 % of a sprite: a roof, a wheel, a shirt.

    Returns:
        At most `limit` convex outlines, largest first, each [x0, y0, x1, y1, ...] in pixels.
    """
    inside = sprite[..., 3] >= VISIBLE_ALPHA
    colours = cv2.cvtColor(sprite[..., :3], cv2.COLOR_RGB2LAB)[inside].astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, labels, _ = cv2.kmeans(colours, 5, np.empty(0), stop, 3, cv2.KMEANS_PP_CENTERS)
    parts = []
    for cluster in range(5):
        mask = np.zeros(inside.shape, np.uint8)
        mask[inside] = labels[:, 0] == cluster
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        count, areas, stats, _ = cv2.connectedComponentsWithStats(mask)
        for i in range(1, count):
            share = stats[i, cv2.CC_STAT_AREA] / inside.sum()
            if 0.05 <= share <= 0.55:
                outline, _ = cv2.findContours(
                    (areas == i).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
                )
                hull = cv2.approxPolyDP(cv2.convexHull(outline[0]), 1.5, True)
                parts.append((share, hull.ravel().tolist()))
    parts.sort(key=lambda part: -part[0])
    return [outline for _, outline in parts[:limit]]


def build_atlas(read: Reader, nouns: list[tuple[str, str]], cell: int) -> tuple[Image.Image, dict]:
    """Paste all nouns into one sheet, row by row, each at the top left of its cell.

    Returns:
        The sheet, and noun -> {"size": [width, height], "parts": outlines} of its sprite.
    """
    rows = -(-len(nouns) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * cell, rows * cell))
    sprites = {}
    for index, (noun, code) in enumerate(nouns):
        sprite = fit(read(code), cell - 2)
        row, column = divmod(index, COLUMNS)
        sheet.paste(Image.fromarray(sprite), (column * cell, row * cell))
        sprites[noun] = {"size": list(sprite.shape[1::-1]), "parts": find_parts(sprite)}
    return sheet, sprites


def main(sources: Path) -> None:
    """Write one WebP per style and `sprites.json`, which says where each sprite lies."""
    groups = json.loads(NOUNS.read_text(encoding="utf-8"))["groups"]
    nouns = [(noun, code) for group in groups.values() for noun, code in group]
    readers: dict[str, tuple[Reader, int]] = {
        "fluent3d": (picture_reader(sources / "fluent3d", ".webp"), CELL),
        "fluentflat": (svg_reader(sources / "fluentflat"), CELL),
        "noto": (font_reader(sources / "noto" / "NotoColorEmoji.ttf"), CELL),
        "twemoji": (picture_reader(sources / "twemoji", ".png"), CELL // 2),
    }
    styles = {}
    for style, (read, cell) in readers.items():
        sheet, sprites = build_atlas(read, nouns, cell)
        sheet.save(HERE / f"{style}.webp", quality=QUALITY, method=6, exact=False)
        styles[style] = {"cell": cell, "columns": COLUMNS, "sprites": sprites}
    text = json.dumps(styles, separators=(",", ":")).replace("},", "},\n")
    (HERE / "sprites.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
