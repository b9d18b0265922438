import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from groma.data.sample import (
    QA,
    Expected,
    GroundedSample,
    Mention,
    Phrase,
    join_pieces,
    plain_text,
)

REGIONS = st.integers(0, 9)
PHRASES = st.builds(Phrase, st.text(min_size=1), st.lists(REGIONS, min_size=1).map(tuple))
PIECES = st.lists(st.one_of(st.text(), PHRASES, st.builds(Mention, REGIONS))).map(join_pieces)
EXPECTED = st.builds(
    Expected,
    st.none() | st.frozensets(REGIONS),
    st.none() | st.integers(0, 9),
    st.none() | st.booleans(),
    st.lists(st.lists(st.text(), min_size=1).map(tuple)).map(tuple),
)
TURNS = st.builds(QA, PIECES, PIECES, st.text(), EXPECTED, st.booleans())
EDGES = st.floats(0, 1)
SAMPLES = st.builds(
    GroundedSample,
    st.text(),
    st.tuples(st.integers(1), st.integers(1)),
    st.lists(st.tuples(EDGES, EDGES, EDGES, EDGES), max_size=3).map(tuple),
    st.lists(st.text(), max_size=3).map(tuple),
    st.lists(TURNS, max_size=3).map(tuple),
)


@given(SAMPLES)
def test_a_sample_survives_json(sample):
    assert GroundedSample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample


@given(PIECES)
def test_pieces_have_one_form(pieces):
    assert join_pieces(pieces) == pieces
    assert "" not in pieces
    strings = [isinstance(piece, str) for piece in pieces]
    assert not any(a and b for a, b in pairwise(strings))


def test_mentions_are_numbered_by_their_first_use():
    turns = (
        QA(("Is ", Mention(4), " like ", Mention(2), "?"), ("No.",)),
        QA(("And ", Mention(2), " or ", Mention(7), "?"), ("Yes.",)),
    )
    sample = GroundedSample("", (1, 1), (), (), turns)
    assert sample.user_regions == (4, 2, 7)
    assert plain_text(turns[1].question, sample.user_regions) == "And [2] or [3]?"


def test_grounding_off_keeps_the_words():
    turn = QA(("How many?",), ("There are ", Phrase("two dogs", (0, 1)), "."), "count")
    plain = turn.ungrounded()
    assert plain.answer == ("There are two dogs.",)
    assert not plain.grounding
    assert plain.expected.regions is None
    assert plain_text(turn.answer) == "There are two dogs."
