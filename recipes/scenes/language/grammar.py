"""English for things: articles, plurals, measure words, numbers, lists."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from groma.data.sample import Phrase, Piece, Pieces, join_pieces
from recipes.scenes.nouns import IRREGULAR_PLURALS

MEASURES: dict[str, str] = {
    "glasses": "pair",
    "scissors": "pair",
    "jeans": "pair",
    "fries": "portion",
    "grapes": "bunch",
    "bread": "loaf",
    "corn": "ear",
    "coffee": "cup",
    "cheese": "piece",
    "broccoli": "head",
    "skis": "pair",
    "binoculars": "pair",
    "pajamas": "pair",
    "sunglasses": "pair",
    "coral": "piece",
    "hay": "bale",
    "pasta": "plate",
    "soup": "bowl",
    "toilet paper": "roll",
}
"""Nouns one cannot count as they are: "a pair of glasses", "two loaves of bread"."""

ALWAYS_PLURAL = frozenset(
    (
        *("glasses", "scissors", "jeans", "fries", "grapes"),
        *("skis", "binoculars", "pajamas", "sunglasses"),
    )
)
"""Nouns that take "are" when they stand alone: "the glasses are here"."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "airplane": ("plane", "aeroplane"),
    "backpack": ("rucksack", "schoolbag"),
    "bicycle": ("bike", "cycle"),
    "bus": ("coach",),
    "cake": ("birthday cake",),
    "car": ("automobile",),
    "clock": ("alarm clock",),
    "cookie": ("biscuit",),
    "couch": ("sofa",),
    "deer": ("stag",),
    "dinosaur": ("dino",),
    "dog": ("doggy",),
    "donut": ("doughnut",),
    "cat": ("kitty",),
    "football": ("soccer ball",),
    "gift": ("present",),
    "guitar": ("electric guitar",),
    "hamburger": ("burger",),
    "handbag": ("purse",),
    "hat": ("top hat",),
    "laptop": ("computer", "notebook computer"),
    "ladybug": ("ladybird",),
    "lightbulb": ("light bulb", "bulb"),
    "lock": ("padlock",),
    "motorcycle": ("motorbike",),
    "mushroom": ("toadstool",),
    "palm": ("palm tree",),
    "pine": ("pine tree", "fir tree"),
    "rabbit": ("bunny",),
    "rocket": ("spaceship",),
    "sailboat": ("sailing boat", "boat"),
    "santa": ("Santa Claus",),
    "shirt": ("T-shirt",),
    "shoe": ("sneaker", "trainer"),
    "taxi": ("cab",),
    "teddy": ("teddy bear",),
    "telephone": ("phone",),
    "television": ("TV", "TV set"),
    "train": ("locomotive", "steam train"),
    "truck": ("lorry",),
    "wrench": ("spanner",),
}
"""Other words people use; each means its noun and no other of the 161."""

STUFF_SYNONYMS: dict[str, tuple[str, ...]] = {
    "grass": ("lawn", "meadow"),
    "sea": ("ocean", "water"),
    "road": ("street",),
    "sand": ("beach",),
}

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_LIKE_CONSONANTS = ("uni", "one")
_IRREGULAR = IRREGULAR_PLURALS | {
    "deer": "deer",
    "scarf": "scarves",
    "snowman": "snowmen",
    "loaf": "loaves",
    "person": "people",
    "child": "children",
    "man": "men",
    "woman": "women",
    "knife": "knives",
    "leaf": "leaves",
    "shelf": "shelves",
    "bookshelf": "bookshelves",
    "wolf": "wolves",
    "calf": "calves",
    "ox": "oxen",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "bison": "bison",
    "jellyfish": "jellyfish",
    "starfish": "starfish",
    "cattle": "cattle",
    "luggage": "luggage",
    "crayfish": "crayfish",
    "sunglasses": "sunglasses",
    "skis": "skis",
    "binoculars": "binoculars",
    "pajamas": "pajamas",
}


@dataclass(frozen=True, slots=True)
class Words:
    """A noun phrase and whether verbs after it are plural."""

    text: str
    plural: bool = False

    @property
    def agreement(self) -> dict[str, str]:
        """Fields for templates: {is}, {was}, {it}, {does}, {look}, and so on."""
        return _PLURAL if self.plural else _SINGULAR


_SINGULAR = {"is": "is", "it": "it", "does": "does", "look": "looks", "its": "its", "sit": "sits"}
_PLURAL = {"is": "are", "it": "they", "does": "do", "look": "look", "its": "their", "sit": "sit"}


def number_word(count: int) -> str:
    """The word for a small number ("no", "one" … "ten"), digits for a larger one."""
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)


@cache
def plural_of(word: str) -> str:
    """The plural of a noun or of one of its synonyms, measure words not considered."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    head, _, last = word.rpartition(" ")
    if head:
        return f"{head} {plural_of(last)}"
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def article(words: str) -> str:
    """The article, "a" or "an", whichever goes before these words."""
    starts_open = words[0].lower() in "aeiou" and not words.startswith(_LIKE_CONSONANTS)
    return "an" if starts_open else "a"


def with_adjectives(noun: str, size: str | None = None, colour: str | None = None) -> str:
    """One of a noun, without an article: "small pair of glasses", "small red car"."""
    colour = None if colour == noun else colour
    measure = MEASURES.get(noun)
    words = [size, measure and f"{measure} of", colour, noun]
    return " ".join(word for word in words if word)


def a(noun: str, size: str | None = None, colour: str | None = None) -> str:
    """As in "a dog", "an orange", "a small pair of glasses", "an ear of yellow corn"."""
    words = with_adjectives(noun, size, colour)
    return f"{article(words)} {words}"


def the(noun: str, size: str | None = None, colour: str | None = None) -> Words:
    """As in "the red car" (is), "the small grapes" (are)."""
    colour = None if colour == noun else colour
    words = " ".join(word for word in ("the", size, colour, noun) if word)
    return Words(words, noun in ALWAYS_PLURAL)


def several(noun: str, count: int | None = None, colour: str | None = None) -> str:
    """As in "three dogs", "two pairs of glasses", "no bread"; without a count "dogs"."""
    measure = MEASURES.get(noun)
    if count is not None and count == 1:
        return f"one {with_adjectives(noun, colour=colour)}"
    if measure and count != 0:
        words = f"{plural_of(measure)} of {f'{colour} ' if colour else ''}{noun}"
    else:
        words = f"{colour} {plural_of(noun)}" if colour else plural_of(noun)
    return words if count is None else f"{number_word(count)} {words}"


def synonyms_of(noun: str) -> tuple[str, ...]:
    """Other words for a noun, without the noun itself; may be empty."""
    return SYNONYMS.get(noun, ())


def listing(items: Sequence[Piece | Pieces]) -> Pieces:
    """Join items as English does: "a", "a and b", "a, b and c"."""
    pieces: list[Piece] = []
    for position, item in enumerate(items):
        if position:
            pieces.append(" and " if position == len(items) - 1 else ", ")
        pieces += item if isinstance(item, tuple) else (item,)
    return join_pieces(pieces)


def capitalised(text: str) -> str:
    """The same text with a capital first letter."""
    return text[:1].upper() + text[1:]


def sentence(pieces: Iterable[Piece]) -> Pieces:
    """Merge pieces and give the first a capital letter."""
    merged = join_pieces(pieces)
    first = merged[0] if merged else ""
    if isinstance(first, str):
        return (capitalised(first), *merged[1:])
    if isinstance(first, Phrase):
        return (Phrase(capitalised(first.text), first.regions), *merged[1:])
    return merged
