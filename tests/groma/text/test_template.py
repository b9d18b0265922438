from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given

from groma.text.template import GREETING, SYSTEM, Piece, Template
from groma.tokens import (
    GROUND_BOX,
    GROUNDING,
    IMAGE,
    NEW_TOKENS,
    REFER_BOX,
    REFER_FEATURE,
    REGION,
    ROI_CLOSE,
    ROI_OPEN,
)
from groma.types import IGNORED
from tests.groma.text import toy
from tests.groma.text.test_plain_text import typed

PREAMBLE = (
    f"{SYSTEM} USER: Here is an image with region crops from it. Image: <image>. "
    f"Regions: <region>. ASSISTANT: {GREETING}"
)
each_kind = pytest.mark.parametrize("kind", toy.KINDS)


@cache
def template(kind: str) -> Template:
    return Template(toy.tokenizer(kind), toy.token_ids(kind))


def whole(kind: str, text: str) -> list[int]:
    """A whole text with its tags, as a tokenizer that knows them reads it."""
    full = toy.with_new_tokens(kind)
    text = text.replace("</s>", full.eos_token)
    return [full.bos_token_id, *full.encode(text, add_special_tokens=False)]


@each_kind
def test_a_prompt_is_what_the_tokenizer_makes_of_the_whole_text(kind: str) -> None:
    write = template(kind)
    ids = write.prompt([], write.question(" Where is the dog? "))
    text = f"{PREAMBLE}</s>USER: [grounding] Where is the dog? ASSISTANT:"
    assert ids == whole(kind, text)


@each_kind
def test_mentions_are_what_the_tokenizer_makes_of_the_whole_text(kind: str) -> None:
    write = template(kind)
    names = [write.tokens.region(4), write.tokens.region(7)]
    question = write.question("Is [2] on the left of [1]?", names, grounding=False)
    text = (
        f"{PREAMBLE}</s>USER: Is <roi><r7></roi><refer_feat> on the left of "
        "<roi><r4></roi><refer_feat>? ASSISTANT:"
    )
    assert write.prompt([], question) == whole(kind, text)


@each_kind
def test_training_text_is_the_whole_text_without_its_separators(kind: str) -> None:
    write = template(kind)
    ground = write.tokens[GROUND_BOX]
    exchanges = [
        (
            write.question("What is this?", [write.tokens[REFER_BOX]], drawn=1, grounding=False),
            write.answer("a dog. ", []),
        ),
        (
            write.question("What is on the left?"),
            write.answer("There is a dog on the cat.", [(9, 14, [ground]), (18, 25, [ground] * 2)]),
        ),
    ]
    ids, labels = write.training_example(exchanges)
    text = (
        f"{PREAMBLE}</s>USER: What is this? <roi><refer_box></roi><refer_feat> ASSISTANT: "
        "<sep> a dog. <sep></s>USER: [grounding] What is on the left? ASSISTANT: <sep> There is "
        "<p> a dog </p> <roi> <ground_box> </roi> on <p> the cat </p> <roi> <ground_box> "
        "<ground_box> </roi>. <sep></s>"
    )
    expected = whole(kind, text)
    separator = write.tokens["<sep>"]
    assert ids == [i for i in expected if i != separator]
    assert labels == supervised(expected, separator, write.plain.eos)


def supervised(ids: list[int], separator: int, eos: int) -> list[int]:
    """Labels as the official training defines them (groma.md, section 6)."""
    labels, is_answer, num_ends = [], False, 0
    for i in ids:
        num_ends += i == eos
        if i == separator:
            is_answer = not is_answer
        elif is_answer or (i == eos and num_ends > 1):
            labels.append(i)
        else:
            labels.append(IGNORED)
    return labels


def test_a_prompt_in_plain_sight() -> None:
    write = template("llama")
    ids = write.prompt([], write.question("What is this?"))
    tokens = toy.with_new_tokens("llama").convert_ids_to_tokens(ids)
    assert tokens[:2] == ["<s>", "▁A"]
    assert tokens[tokens.index("<image>") + 1] == "."
    end = tokens.index("</s>")
    assert "".join(tokens[end:]) == "</s>USER:[grounding]What▁is▁this?▁ASSISTANT:"


def test_a_legacy_tokenizer_puts_a_space_after_every_tag() -> None:
    write = template("llama-legacy")
    ids = write.prompt([], write.question("What is this?"))
    tokens = toy.with_new_tokens("llama-legacy").convert_ids_to_tokens(ids)
    assert "".join(tokens[tokens.index("</s>") :]) == (
        "</s>▁USER:[grounding]▁What▁is▁this?▁ASSISTANT:"
    )


@each_kind
def test_there_is_one_place_for_the_image_and_one_for_the_regions(kind: str) -> None:
    write = template(kind)
    ids = write.prompt([(["<image>"], ["<region>"])], write.question("<image> <region>"))
    assert ids.count(write.tokens[IMAGE]) == ids.count(write.tokens[REGION]) == 1
    assert ids.index(write.tokens[IMAGE]) < ids.index(write.tokens[REGION])


@each_kind
@given(question=typed, answer=typed)
def test_no_text_becomes_a_tag(kind: str, question: str, answer: str) -> None:
    write = template(kind)
    empty, _ = write.training_example([([], [])])
    ids, _ = write.training_example([(write.question(question, grounding=False), [answer])])
    special = {*range(write.tokens.base, write.tokens.base + 114), write.plain.bos, write.plain.eos}
    assert [i for i in ids if i in special] == [i for i in empty if i in special]


def mentioned(pieces: Sequence[Piece]) -> list[Piece]:
    """What stands inside `<roi>`, and that everything around it is in place."""
    tokens = template("llama").tokens
    found = [i for i, piece in enumerate(pieces) if piece == tokens[ROI_OPEN]]
    assert all(pieces[i + 2] == tokens[ROI_CLOSE] for i in found)
    assert all(pieces[i + 3] == tokens[REFER_FEATURE] for i in found)
    return [pieces[i + 1] for i in found]


@pytest.mark.parametrize(
    ("text", "drawn", "expected"),
    [
        ("What is [1]?", 0, [100]),
        ("What is [1]?", 2, [100]),
        ("[3] [1] [3]", 0, [102, 100, 102]),
        ("What is this?", 2, [101, 102]),
        ("What is this?", 0, []),
        ("What is [7]?", 1, [102]),
        ("[0] [01] [4] [1000] [-1] [a] [ 1 ] []", 0, []),
        ("[grounding] [[1]]", 0, [100]),
    ],
)
def test_mentions(text: str, drawn: int, expected: list[int]) -> None:
    pieces = template("llama").question(text, [100, 101, 102], drawn, grounding=False)
    assert mentioned(pieces) == expected


def test_a_mention_of_nothing_stays_as_typed() -> None:
    pieces = template("llama").question("What is [7], [1]?", [], grounding=False)
    assert "".join(map(str, pieces)) == "What is [7], [1]?"


def test_typed_grounding_is_text() -> None:
    write = template("llama")
    ids = write.prompt([], write.question("[grounding] x", grounding=False))
    assert write.tokens[GROUNDING] not in ids


def test_every_new_token_keeps_its_id() -> None:
    full = toy.with_new_tokens("llama")
    tokens = template("llama").tokens
    assert [full.convert_tokens_to_ids(t) for t in NEW_TOKENS] == [tokens[t] for t in NEW_TOKENS]
