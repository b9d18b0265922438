import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groma.chat.conversation import GroundedReply
from groma.named_regions import Region
from groma.text.grounding import ReplyBuilder
from groma.text.template import Piece, Template
from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, ROI_CLOSE, ROI_OPEN
from tests.groma.text import toy

SIZE = (48, 64)
REGIONS = [
    Region(i, (i, 1.0, i + 2.0, 5.0), (0.1, 0.1, 0.2, 0.2), 0.5, 1 if i == 9 else None)
    for i in range(10)
]
each_kind = pytest.mark.parametrize("kind", toy.KINDS)


@cache
def template(kind: str) -> Template:
    return Template(toy.tokenizer(kind), toy.token_ids(kind))


def pieces_of(text: str, kind: str) -> list[Piece]:
    """Text with tags written out."""
    parts = re.split(r"(</?p>|</?roi>|<r\d+>)", text)
    tokens = template(kind).tokens
    return [part if i % 2 == 0 else tokens[part] for i, part in enumerate(parts)]


def tokens_of(text: str, kind: str) -> list[int]:
    """Tokens of an answer as training writes them: no space beside a tag."""
    ids, labels = template(kind).training_example([([], pieces_of(text, kind))])
    return [i for i, label in zip(ids, labels, strict=True) if label >= 0][:-1]


def builder(kind: str = "llama") -> ReplyBuilder:
    return ReplyBuilder(template(kind).plain, template(kind).tokens, REGIONS)


def reply_of(reader: ReplyBuilder) -> GroundedReply:
    return GroundedReply(reader.text, reader.spans, SIZE)


def read(ids: list[int], kind: str = "llama") -> GroundedReply:
    reader = builder(kind)
    for i in ids:
        reader.push(i, 0.25)
    return reply_of(reader)


def spans(reply: GroundedReply) -> list[tuple[str, list[int]]]:
    return [(reply.phrase(span), [region.id for region in span.regions]) for span in reply.spans]


@each_kind
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("There is <p> a dog </p><roi><r4></roi> here.", "There is a dog here."),
        ("<p>A dog</p> <roi><r4></roi> is here", "A dog is here"),
        ("It is <p>a dog</p><roi><r4></roi>.", "It is a dog."),
        ("It is <p>a dog</p><roi><r4></roi>, yes", "It is a dog, yes"),
        ("Is it <p>a dog</p><roi><r4></roi>? No!", "Is it a dog? No!"),
        ("(<p>a dog</p><roi><r4></roi>) here", "(a dog) here"),
        ("no (<p>a dog</p><roi><r4></roi>)", "no (a dog)"),
        ("<p>the dog</p><roi><r4></roi>'s ball", "the dog's ball"),
        ('so "<p>a dog</p><roi><r4></roi>" it is', 'so "a dog" it is'),
        ('<p>a dog</p><roi><r4></roi> "here"', 'a dog "here"'),
        ("<p>one</p><roi><r4></roi><p>two</p><roi><r5></roi>", "one two"),
        ("<roi><r4></roi>", ""),
        ("it is <roi><r4></roi> there", "it is there"),
        ("<p>一只狗</p><roi><r4></roi>在这里", "一只狗在这里"),
        ("a  b", "a  b"),
        ("<r3> stray </roi> tags </p> vanish <p>", "stray tags vanish"),
    ],
)
def test_spacing_is_natural(kind: str, answer: str, text: str) -> None:
    assert read(tokens_of(answer, kind), kind).text == text


@each_kind
def test_a_list_keeps_its_lines(kind: str) -> None:
    plain, tokens = template(kind).plain, template(kind).tokens
    ids = [
        *(tokens[PHRASE_OPEN], *plain.encode("a"), tokens[PHRASE_CLOSE]),
        *(tokens[ROI_OPEN], tokens.region(1), tokens[ROI_CLOSE], *plain.encode("\n- b")),
    ]
    assert read(ids, kind).text == "a\n- b"


@each_kind
def test_spans_hold_exactly_their_phrase(kind: str) -> None:
    answer = (
        "There is <p>a dog</p><roi><r4></roi> and <p>the cat</p><roi><r5><r6><r5></roi>; "
        "also <roi><r9></roi>."
    )
    reply = read(tokens_of(answer, kind), kind)
    assert reply.text == "There is a dog and the cat; also."
    assert spans(reply) == [("a dog", [4]), ("the cat", [5, 6]), ("", [9])]
    dog, _, user = (span.regions[0] for span in reply.spans)
    assert (dog.box, dog.score, dog.objectness, dog.user) == (REGIONS[4].box, 0.25, 0.5, None)
    assert user.user == 1
    assert reply.image_size == SIZE
    assert reply.finish == "stop"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<p>a<p>dog</p><roi><r1></roi>", [("dog", [1])]),
        ("<p>a dog<roi><r1></roi>", [("a dog", [1])]),
        ("<p>a dog</p> is <roi><r1></roi>", [("", [1])]),
        ("<p>a dog</p><roi></roi><roi><r1></roi>", [("", [1])]),
        ("<p>a dog</p><roi><r1><roi><r2></roi>", [("a dog", [2])]),
        ("<p></p><roi><r1></roi> x", [("", [1])]),
        ("<p>a dog</p><roi><r1>", []),
        ("<roi><r99></roi>", []),
        ("<p>a</p><roi><r1></roi></roi><r2></roi>", [("a", [1])]),
    ],
)
def test_odd_sequences_are_understood(answer: str, expected: list) -> None:
    assert spans(read(tokens_of(answer, "llama"))) == expected


@each_kind
@given(data=st.data())
def test_any_tokens_grow_a_valid_reply(kind: str, data: st.DataObject) -> None:
    tokens = template(kind).tokens
    tags = st.sampled_from([tokens[t] for t in (PHRASE_OPEN, PHRASE_CLOSE, ROI_OPEN, ROI_CLOSE)])
    anything = st.integers(0, tokens.base + 120)
    ids = data.draw(st.lists(anything | tags | st.integers(tokens.region(0), tokens.region(12))))
    reader, before = builder(kind), reply_of(builder(kind))
    for i in ids:
        reader.push(i)
        reply = reply_of(reader)
        assert reply.text.startswith(before.text)
        assert reply.spans[: len(before.spans)] == before.spans
        assert not reply.text or not reply.text[-1].isspace()
        before = reply
    edges = [edge for span in before.spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(span.regions for span in before.spans)
    assert not edges or 0 <= edges[0] <= edges[-1] <= len(before.text)


@each_kind
@given(text=st.text(st.characters(exclude_characters="▁�", exclude_categories=["Cs"])))
def test_streamed_text_never_shows_half_a_character(kind: str, text: str) -> None:
    reader, last = builder(kind), ""
    for i in template(kind).plain.encode(text):
        reader.push(i)
        last = reader.text
        assert text.strip().startswith(last)
    assert last == text.strip()


words = st.lists(st.sampled_from(["dog", "a", "red", "ball.", "(is)"]), min_size=1, max_size=3)


@each_kind
@given(data=st.data())
def test_a_reply_survives_being_written_and_read(kind: str, data: st.DataObject) -> None:
    answer = ""
    for phrase in data.draw(st.lists(words.map(" ".join), max_size=4)):
        names = data.draw(st.lists(st.integers(0, 9), unique=True, max_size=3))
        grounded = f"<p>{phrase}</p><roi>{''.join(f'<r{i}>' for i in names)}</roi> "
        answer += grounded if names else f"{phrase} "
    reply = read(tokens_of(answer, kind), kind)
    ids, labels = template(kind).training_example([([], reply.pieces(template(kind)))])
    written = [i for i, label in zip(ids, labels, strict=True) if label >= 0][:-1]
    assert read(written, kind) == reply
