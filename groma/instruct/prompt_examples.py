"""Conversations that show a writer what is wanted; all of them written for this project."""

from dataclasses import dataclass

from groma.instruct.material import Material


@dataclass(frozen=True, slots=True)
class Example:
    """Something to write about, and what was written.

    Attributes:
        material: its picture exists in words only.
        draft: JSON, see `groma.instruct.notation.read_draft`.
    """

    material: Material
    draft: str


EXAMPLES = (
    Example(
        Material(
            "kitchen",
            (720, 960),
            (
                (0.05, 0.20, 0.38, 0.95),
                (0.30, 0.52, 0.44, 0.70),
                (0.52, 0.55, 0.70, 0.78),
                (0.72, 0.60, 0.80, 0.74),
                (0.60, 0.05, 0.90, 0.35),
            ),
            (
                ("woman in a green apron", "the woman is pouring milk"),
                ("a white jug",),
                ("bowl of flour", "glass bowl on the counter"),
                ("two eggs",),
                ("window above the sink",),
            ),
            ("A woman prepares dough in a bright kitchen.",),
            (("What color is the apron?", "Green."),),
        ),
        """{"conversation": [
 {"question": "What is happening here?", "answer": "[A woman in a green apron](1) is pouring milk \
from [a white jug](2). On the counter in front of her stand [a glass bowl of flour](3) and \
[two eggs](4), so she is probably making dough."},
 {"question": "What might she do with <4> next?", "answer": "She will most likely crack \
[the eggs](4) into [the bowl](3) and stir them into the flour."},
 {"question": "Where does the light come from?", "answer": "Daylight falls in through \
[the window](5), which is above the sink on the right."},
 {"question": "What is <2> made of, and who is holding it?", "answer": "[It](2) looks like \
porcelain, and [the woman](1) is holding it by its handle."}
]}""",
    ),
    Example(
        Material(
            "harbour",
            (600, 900),
            (
                (0.02, 0.40, 0.35, 0.85),
                (0.40, 0.45, 0.66, 0.82),
                (0.45, 0.60, 0.50, 0.72),
                (0.86, 0.10, 0.95, 0.60),
            ),
            (
                ("blue fishing boat", "boat with nets on its deck"),
                ("a boat that is painted white", "small white sailing boat"),
                ("a dog on the boat",),
                ("striped lighthouse",),
            ),
        ),
        """{"conversation": [
 {"question": "How many boats are there, and how do they differ?", "answer": "There are \
[two boats](1, 2). [The blue one](1) carries nets for fishing, while [the white one](2) is a \
small sailing boat."},
 {"question": "Is anybody on <2>?", "answer": "No person can be seen there, but [a dog](3) is \
standing on its deck."},
 {"question": "What helps ships to find this place at night?", "answer": "[The striped \
lighthouse](4) on the right does: its light can be seen from far away."}
]}""",
    ),
)
