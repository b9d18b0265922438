"""Which thing do words name? Categories of an annotation file, in the words that people use."""

import re
from collections.abc import Iterable, Mapping

from groma.ops.colours import NAMES as COLOURS
from groma.text.grammar import plural_of

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "person": (
        *("human", "persons", "man", "woman", "boy", "girl", "child", "kid", "baby", "lady", "guy"),
        *("player", "rider", "skier", "surfer", "snowboarder", "skateboarder", "pedestrian"),
    ),
    "bicycle": ("bike",),
    "car": ("automobile", "taxi", "van", "camper", "ambulance"),
    "motorcycle": ("motorbike", "moped", "motor scooter", "scooter"),
    "airplane": ("plane", "aeroplane", "aircraft", "jet"),
    "bus": ("coach",),
    "train": ("locomotive", "tram"),
    "truck": ("lorry", "pickup"),
    "boat": ("motorboat", "rowing boat", "sailboat", "canoe", "ship"),
    "traffic light": ("stoplight", "traffic signal"),
    "fire hydrant": ("hydrant",),
    "bird": (
        *("chicken", "duck", "eagle", "flamingo", "goose", "heron", "ostrich", "owl", "parrot"),
        *("peacock", "pelican", "penguin", "pigeon", "seagull", "stork", "swan", "toucan"),
    ),
    "cat": ("kitten", "kitty"),
    "dog": ("puppy",),
    "horse": ("pony", "foal"),
    "sheep": ("lamb",),
    "cow": ("cattle", "ox", "bull", "calf"),
    "backpack": ("rucksack",),
    "umbrella": ("parasol",),
    "handbag": ("purse",),
    "tie": ("necktie", "bow tie"),
    "suitcase": ("luggage",),
    "frisbee": ("disc",),
    "skis": ("ski",),
    "sports ball": (
        *("ball", "football", "soccer ball", "basketball", "baseball", "tennis ball"),
        "volleyball",
    ),
    "baseball bat": ("bat",),
    "baseball glove": ("mitt",),
    "tennis racket": ("racket", "racquet", "tennis racquet"),
    "wine glass": ("goblet",),
    "cup": ("mug", "glass"),
    "sandwich": ("hamburger", "burger"),
    "hot dog": ("hotdog",),
    "donut": ("doughnut",),
    "couch": ("sofa", "settee"),
    "potted plant": ("houseplant", "plant"),
    "dining table": ("table",),
    "tv": ("television", "monitor", "screen"),
    "laptop": ("notebook computer", "laptop computer"),
    "mouse": ("computer mouse",),
    "remote": ("remote control",),
    "keyboard": ("computer keyboard",),
    "cell phone": ("mobile phone", "mobile", "smartphone", "cellphone", "phone"),
    "oven": ("stove", "cooker"),
    "sink": ("washbasin", "basin"),
    "refrigerator": ("fridge",),
    "teddy bear": ("teddy", "stuffed bear", "stuffed animal"),
    "hair drier": ("hair dryer", "hairdryer"),
}
"""What COCO's categories are called besides, their kinds included."""


class Names:
    """The names that words may mean.

    A word that is a category of its own means that one, and is no synonym.

    Args:
        categories: in small letters.
    """

    def __init__(self, categories: Iterable[str]) -> None:
        words = {word: name for name, known in SYNONYMS.items() for word in (name, *known)}
        words |= {name: name for name in categories}
        self._names = {plural_of(word): name for word, name in words.items()} | words
        # The longest first: the "dog" of "hot dog" is none.
        longest = sorted(self._names, key=len, reverse=True)
        any_name = rf"(?:{'|'.join(map(re.escape, longest))})(?!\w)"
        # The "orange" of "an orange cat" is none.
        coloured = rf"(?!(?:{'|'.join(COLOURS)})\s+{any_name})"
        self._pattern = re.compile(rf"(?<!\w){coloured}({any_name})", re.IGNORECASE)

    def first(self, text: str) -> str | None:
        """The category that a text names first; None if it names nothing known."""
        match = self._pattern.search(text)
        return self._names[match[1].lower()] if match else None
