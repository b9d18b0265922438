"""Words inside a question that single a thing out: places, orders, sizes, relations."""

from recipes.scenes.language.facts import Relation

PLACES: dict[tuple[str, str], str] = {
    ("left", "top"): "at the top left",
    ("middle", "top"): "at the top",
    ("right", "top"): "at the top right",
    ("left", "middle"): "on the left",
    ("middle", "middle"): "in the middle",
    ("right", "middle"): "on the right",
    ("left", "bottom"): "at the bottom left",
    ("middle", "bottom"): "at the bottom",
    ("right", "bottom"): "at the bottom right",
}

EXTREMES: dict[Relation, tuple[str, ...]] = {
    "left": (
        "the {n} on the left",
        "the left {n}",
        "the leftmost {n}",
        "the {n} farthest to the left",
        "the {n} furthest left",
        "the {n} on the left side",
    ),
    "right": (
        "the {n} on the right",
        "the right {n}",
        "the rightmost {n}",
        "the {n} farthest to the right",
        "the {n} furthest right",
        "the {n} on the right side",
    ),
    "above": (
        "the {n} at the top",
        "the top {n}",
        "the topmost {n}",
        "the uppermost {n}",
        "the highest {n}",
        "the {n} farthest up",
    ),
    "below": (
        "the {n} at the bottom",
        "the bottom {n}",
        "the bottommost {n}",
        "the lowest {n}",
        "the {n} farthest down",
        "the {n} nearest to the bottom",
    ),
}
MIDDLES: tuple[str, ...] = ("the {n} in the middle", "the middle {n}", "the {n} in between")

CORNERS: dict[tuple[str, str], tuple[str, ...]] = {
    (side, height): (
        f"the thing in the {height} {side} corner",
        f"the object in the {height} {side} corner",
        f"whatever is in the {height} {side} corner",
        f"the thing at the {height} {side} of the picture",
        f"the {height} {side} thing",
    )
    for side in ("left", "right")
    for height in ("top", "bottom")
}

ORDINAL_ENDS: dict[Relation, str] = {
    "left": "from the left",
    "right": "from the right",
    "above": "from the top",
    "below": "from the bottom",
}

RELATIONS: dict[Relation, tuple[str, ...]] = {
    "left": ("to the left of", "left of", "on the left of"),
    "right": ("to the right of", "right of", "on the right of"),
    "above": ("above", "higher up than"),
    "below": ("below", "further down than"),
}
"""The first of each is how answers say it."""

BIGGEST: tuple[str, ...] = ("biggest", "largest")
SMALLEST: tuple[str, ...] = ("smallest", "tiniest")
BIGGER: tuple[str, ...] = ("bigger", "larger")
SMALLER: tuple[str, ...] = ("smaller",)
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge"),
}
ANYTHING: tuple[str, ...] = (
    "thing in the picture",
    "object",
    "thing of all",
    "object in the image",
)

COLOUR_FORMS: tuple[str, ...] = (
    "the {c} {n}",
    "the {c} {n}",
    "the {c} {n}",
    "the {n} that is {c}",
    "the {n} in {c}",
    "the {c} coloured {n}",
)
