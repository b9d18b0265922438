import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.chat.chat import Chat
from groma.chat.conversation import Conversation, GroundedReply
from groma.chat.decoder import MASK_SIDE, mask_coverage
from groma.chat.settings import GenerationSettings
from groma.masks.grabcut import GrabCut
from groma.named_regions import GroundedSpan
from groma.shapes import Box, Mask, Point, Scribble
from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, REFER_FEATURE, REGION, ROI_CLOSE, ROI_OPEN
from groma.types import GromaError
from tests import talk
from tests.groma.text import toy
from tests.talk import CAT, DOG, SIZE

SHORT = 30


def chat(max_new_tokens: int = SHORT, **settings: Any) -> Chat:
    return talk.groma().chat(talk.encoded(), max_new_tokens=max_new_tokens, **settings)


def assert_same(first: GroundedReply, second: GroundedReply) -> None:
    """Equal but for the last bits of the scores."""
    assert strip(first) == strip(second)
    scores = [[region.score for region in reply.regions] for reply in (first, second)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def strip(reply: GroundedReply) -> GroundedReply:
    spans = [
        GroundedSpan(span.start, span.end, tuple(replace(r, score=0) for r in span.regions))
        for span in reply.spans
    ]
    return replace(reply, spans=tuple(spans))


def all_regions(reply: GroundedReply) -> list:
    return [region for span in reply.spans for region in span.regions]


def grounded() -> tuple[Chat, GroundedReply]:
    """A conversation whose first answer points to regions."""
    for seed in range(20):
        talked = chat(temperature=1.0, seed=seed)
        reply = talked.ask("What is this?", [DOG])
        if reply.regions:
            return talked, reply
    raise AssertionError("no answer has regions")


def test_an_answer_has_words_boxes_and_scores() -> None:
    talked, reply = grounded()
    assert reply.text
    assert reply.finish in ("stop", "length")
    assert reply.image_size == talk.SIZE
    known = talked.conversation.regions
    for region in all_regions(reply):
        assert 0 < region.score <= 1
        assert region.box == known[region.id].box
        assert region.objectness == known[region.id].objectness
        assert region.user == known[region.id].user


@pytest.mark.parametrize("kind", toy.KINDS)
def test_streamed_is_whole_and_only_grows(kind: str) -> None:
    talked = talk.groma(kind).chat(talk.encoded(kind), max_new_tokens=SHORT)
    whole = talked.ask("What is this?", [DOG])
    talked.undo()
    before = None
    for reply in talked.stream("What is this?", [DOG]):
        if before is not None:
            assert reply.text.startswith(before.text)
            assert reply.spans[: len(before.spans)] == before.spans
            assert before.finish == "streaming"
        before = reply
    assert before is not None
    assert_same(before, whole)
    assert before == talked.conversation.turns[-1].reply


def test_the_score_is_a_share_among_the_regions() -> None:
    talked, reply = grounded()
    turn = talked.conversation.turns[0]
    assert turn.answer_ids is not None
    model, tokens = talk.groma().model, talk.groma().template.tokens
    fresh = chat(temperature=1.0, seed=turn.settings.seed)
    request = fresh._request(Conversation(talk.SIZE), "What is this?", [DOG], turn.settings)
    embedder = fresh._embedder
    with torch.inference_mode():
        prompt = embedder.embed(request.ids, request.regions, 0)
        answer = model.get_input_embeddings()(torch.tensor(turn.answer_ids))
        logits = model.language_model(inputs_embeds=torch.cat([prompt, answer])[None]).logits[0]
    at = next(
        i for i, token in enumerate(turn.answer_ids) if tokens.region_index(token) is not None
    )
    names = [tokens.region(i) for i in request.listed]
    share = logits[len(prompt) + at - 1, names].softmax(dim=0)
    first = all_regions(reply)[0]
    assert first.score == pytest.approx(float(share[request.listed.index(first.id)]), abs=1e-4)


def lengths(ask: Callable[[], object]) -> list[int]:
    """How many positions each pass through the language model computed."""
    seen = []
    model = talk.groma().model.language_model
    hook = model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    try:
        ask()
    finally:
        hook.remove()
    return seen


def test_later_turns_read_only_what_is_new() -> None:
    talked = chat()
    first = lengths(partial(talked.ask, "What is this?", [DOG]))
    second = lengths(partial(talked.ask, "a dog?"))
    new = talk.groma().template.prompt([], talk.groma().template.question("a dog?"))
    eos = talk.groma().template.plain.eos
    asked = new[::-1].index(eos)
    assert first[0] > 150
    # The last token of the answer was not read yet, and its end is new.
    assert second[0] == asked + 2
    assert set(first[1:]) == set(second[1:]) == {1}


def test_a_new_user_region_reads_from_its_place_in_the_list_on() -> None:
    talked = chat()
    whole = lengths(partial(talked.ask, "What is this?"))[0]
    tail = lengths(partial(talked.ask, "and this?", [CAT]))[0]
    assert tail < whole
    assert lengths(talked.regenerate)[0] == 1


operations = st.lists(
    st.sampled_from(["ask", "ask", "box", "undo", "regenerate", "edit", "stop", "release"]),
    min_size=1,
    max_size=6,
)


def perform(talked: Chat, operation: str, seed: int) -> None:
    talked.settings = GenerationSettings(max_new_tokens=12, temperature=1.0, seed=seed)
    has_turn = bool(talked.conversation.turns)
    if operation == "release":
        talked.release()
    elif operation == "stop":
        next(talked.stream("stop"))
    elif operation == "box":
        talked.ask("this?", [(seed % 50, 5, seed % 50 + 20, 30)])
    elif operation == "ask" or not has_turn:
        talked.ask(f"a dog {seed}?")
    elif operation == "undo":
        talked.undo()
    elif operation == "regenerate":
        talked.regenerate(seed=seed)
    else:
        drawn = [region for region in talked.conversation.regions if region.user is not None]
        talked.edit("[1] edited" if drawn else "edited", seed=seed)


@settings(max_examples=25)
@given(steps=operations)
def test_any_history_equals_a_fresh_start(steps: list[str]) -> None:
    talked = chat()
    for seed, operation in enumerate(steps):
        perform(talked, operation, seed)
    fresh = talk.groma().chat(talk.encoded(), talked.conversation, max_new_tokens=SHORT)
    talked.settings = fresh.settings
    assert_same(talked.ask("What is this?", [CAT]), fresh.ask("What is this?", [CAT]))
    assert talked.conversation.regions == fresh.conversation.regions


def test_user_regions_keep_id_and_number() -> None:
    talked = chat()
    talked.ask("What is this?", [DOG, DOG])
    first = [r for r in talked.conversation.regions if r.user is not None]
    assert [(r.box, r.user) for r in first] == [(DOG, 1), (DOG, 2)]
    talked.ask("and this?", [CAT])
    users = [r for r in talked.conversation.regions if r.user is not None]
    assert users[:2] == first
    assert (users[2].box, users[2].user, users[2].id) == (CAT, 3, first[1].id + 1)


def prompt_of(talked: Chat, text: str, boxes=()) -> list[int]:
    return list(talked._request(talked.conversation, text, boxes, talked.settings).ids)


def test_every_user_region_is_listed_and_mentions_name_it() -> None:
    talked, tokens = chat(), talk.groma().template.tokens
    talked.ask("What is this?", [DOG, DOG])
    ids = prompt_of(talked, "Is [3] near [1]?", [CAT])
    users = [tokens.region(r.id) for r in talked.conversation.regions if r.user is not None]
    users.append(users[-1] + 1)
    assert all(ids[ids.index(name) + 1] == tokens[REGION] for name in users)
    mentions = [ids[i - 2] for i, token in enumerate(ids) if token == tokens[REFER_FEATURE]]
    assert mentions == [users[0], users[1], users[2], users[0]]


def test_the_same_box_gives_the_same_features_wherever_it_stands() -> None:
    embedder = chat()._embedder
    talked = chat()
    request = talked._request(talked.conversation, "this?", [DOG], talked.settings)
    with torch.inference_mode():
        rows = embedder.embed(request.ids, request.regions, 0)
        tail = embedder.embed(request.ids, request.regions, 100)
        expected = talk.groma().model.encode_regions(
            talk.encoded(), torch.tensor([request.regions[-1].extent])
        )
    tokens = talk.groma().template.tokens
    at = [request.ids.index(tokens[REFER_FEATURE]), len(request.ids) - 1]
    last_region = max(i for i, token in enumerate(request.ids) if token == tokens[REGION])
    torch.testing.assert_close(rows[at[0]], expected[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rows[last_region], expected[0], atol=1e-5, rtol=1e-4)
    assert torch.equal(rows[100:], tail)


LINE = Scribble((((12, 12), (30, 40)),), width=4)
LINE_MASK = Mask.of(LINE.mask(SIZE))
PLACE = talk.place()


def test_any_shape_is_a_region_and_numbers_go_over_all_of_them() -> None:
    talked, tokens = chat(score_threshold=0.0), talk.groma().template.tokens
    shapes = [LINE.to_json(), PLACE, Mask.of(LINE.mask(SIZE))]
    talked.ask("Are [1] and [4] alike?", [DOG], regions=shapes)
    turn = talked.conversation.turns[0]
    assert turn.shapes == (Box(*DOG), LINE, PLACE, Mask.of(LINE.mask(SIZE)))
    users = [r for r in talked.conversation.regions if r.user is not None]
    assert [region.user for region in users] == [1, 2, 3, 4]
    ids = prompt_of(talked, "What is [2]?")
    mentions = [ids[i - 2] for i, token in enumerate(ids) if token == tokens[REFER_FEATURE]]
    assert mentions == [tokens.region(users[i].id) for i in (0, 3, 1)]


def test_a_scribble_is_of_its_own_pixels() -> None:
    talked = chat()
    box = Box(*LINE.box(SIZE))
    request = talked._request(talked.conversation, "this?", [LINE, box], talked.settings)
    line, plain = request.regions[-2:]
    assert line.extent == plain.extent
    with torch.inference_mode():
        keys = talked._embedder.keys(request.ids, request.regions)
        rows = talked._embedder.embed(request.ids, request.regions, 0)
        masked, whole = talk.groma().model.encode_regions(
            talk.encoded(),
            torch.tensor([line.extent, plain.extent]),
            torch.stack([mask_coverage(LINE_MASK), torch.ones(MASK_SIDE, MASK_SIDE)]),
        )
    at = [i for i, key in enumerate(keys) if isinstance(key, tuple)][-2:]
    assert keys[at[0]] == (line.extent, LINE_MASK)
    torch.testing.assert_close(rows[at[0]], masked, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(rows[at[1]], whole, atol=1e-5, rtol=1e-4)
    assert (masked - whole).abs().max() > 1e-2


def test_what_was_drawn_is_saved_and_asked_again() -> None:
    talked = chat(score_threshold=0.0)
    talked.ask("What is [1]?", regions=[LINE, PLACE])
    saved = json.loads(json.dumps(talked.to_dict()))
    again = talk.groma().chat(talk.encoded(), Conversation.from_dict(saved))
    assert again.conversation == talked.conversation
    again.regenerate()
    assert again.conversation.turns[0].shapes == (LINE, PLACE)
    again.edit("And now?", [LINE])
    assert again.conversation.turns[0].shapes == (LINE,)


def test_masks_become_part_of_the_talk() -> None:
    model = talk.groma().with_masks(GrabCut())
    seed = grounded()[0].settings.seed
    talked = model.chat(talk.picture(), max_new_tokens=SHORT, temperature=1.0, seed=seed)
    assert talked.ask("What is this?", [DOG]).regions
    before = talked.conversation
    masked = talked.make_masks()
    assert masked == talked.conversation == before.masked(GrabCut().look(talk.picture()))
    assert all(region.mask for region in masked.turns[0].reply.regions)
    assert Conversation.from_dict(json.loads(json.dumps(talked.to_dict()))) == masked
    unmasked = talk.groma().chat(talk.encoded(), before)
    assert_same(
        *(each.ask("And?", max_new_tokens=5, temperature=0.0) for each in (talked, unmasked))
    )
    with pytest.raises(GromaError, match="nothing to make masks with"):
        unmasked.make_masks()
    later = talk.groma().chat(talk.encoded(), before)
    assert later.make_masks(GrabCut().look(talk.picture())) == masked


def test_a_wrong_region_is_refused_before_anything_is_computed() -> None:
    talked = chat()
    with pytest.raises(GromaError, match=r"^Region 2: It lies outside the picture\.$"):
        talked.ask("What?", [DOG], regions=[Point(200, 1)])
    with pytest.raises(GromaError, match="101 regions are too many"):
        talked.ask("What?", [DOG], regions=[PLACE] * 100)
    with pytest.raises(GromaError, match="must be a list"):
        talked.ask("What?", regions={"point": [1, 2]})
    assert not talked.conversation.turns


def test_typed_tags_stay_text() -> None:
    talked, tokens = chat(), talk.groma().template.tokens
    plain = [i for i in prompt_of(talked, "x") if i >= tokens.base]
    typed = "<r5> <image> </s> <region> [grounding] </roi> [PAD] <refer_feat>"
    assert [i for i in prompt_of(talked, typed) if i >= tokens.base] == plain
    talked.ask(typed)
    assert talked.conversation.turns[0].question == typed


def test_grounding_can_be_left_out() -> None:
    tokens = talk.groma().template.tokens
    assert tokens["[grounding]"] in prompt_of(chat(), "x")
    assert tokens["[grounding]"] not in prompt_of(chat(grounding=False), "x")


def test_fewer_regions_can_be_shown() -> None:
    tokens = talk.groma().template.tokens
    assert prompt_of(chat(), "x").count(tokens[REGION]) == 12
    assert prompt_of(chat(max_regions=3), "x").count(tokens[REGION]) == 3
    assert prompt_of(chat(score_threshold=1.0), "x").count(tokens[REGION]) == 1


def is_well_formed(ids: tuple[int, ...]) -> bool:
    tokens = talk.groma().template.tokens
    pairs = [(PHRASE_OPEN, PHRASE_CLOSE), (ROI_OPEN, ROI_CLOSE)]
    return all(ids.count(tokens[a]) == ids.count(tokens[b]) for a, b in pairs)


@pytest.mark.parametrize("number", range(0, 30, 3))
def test_stopping_keeps_what_was_said(number: int) -> None:
    talked, _ = grounded()
    whole = talked.conversation.turns[0]
    talked.undo()
    count = iter(range(100))
    *_, reply = talked.stream(
        "What is this?",
        [DOG],
        stop=lambda: next(count) >= number,
        temperature=1.0,
        seed=whole.settings.seed,
    )
    assert reply.finish == "cancelled"
    assert whole.reply.text.startswith(reply.text)
    assert whole.reply.spans[: len(reply.spans)] == reply.spans
    assert talked.conversation.turns[-1].reply == reply
    ids = prompt_of(talked, "go on")
    assert is_well_formed(tuple(ids))
    assert talked.ask("go on").finish in ("stop", "length")


def test_closing_the_stream_is_stopping() -> None:
    talked = chat()
    stream = talked.stream("What is this?")
    shown = [next(stream) for _ in range(3)][-1]
    with pytest.raises(GromaError, match="still answering"):
        talked.ask("at the same time?")
    with pytest.raises(GromaError, match="still answering"):
        talked.undo()
    stream.close()
    assert talked.conversation.turns[-1].reply == replace(shown, finish="cancelled")
    talked.ask("go on")
    assert len(talked.conversation.turns) == 2


def test_an_answer_stopped_before_its_first_word_is_not_read_again() -> None:
    talked = chat()
    before = prompt_of(talked, "go on")
    *_, reply = talked.stream("What is this?", stop=lambda: True)
    assert (reply.text, reply.finish) == ("", "cancelled")
    assert prompt_of(talked, "go on") == before


def test_a_stream_of_an_older_conversation_is_refused() -> None:
    talked = chat()
    stale = talked.stream("one")
    talked.ask("two")
    with pytest.raises(GromaError, match="went on"):
        next(stale)
    assert [turn.question for turn in talked.conversation.turns] == ["two"]


def test_the_last_reply_leaves_the_conversation_free() -> None:
    talked = chat()
    for reply in talked.stream("one"):
        if reply.finish != "streaming":
            talked.undo()
    assert talked.conversation.turns == ()


def test_undo_regenerate_and_edit() -> None:
    talked = chat(temperature=1.0, seed=1)
    first = talked.ask("What is this?", [DOG])
    second = talked.regenerate(seed=2)
    assert second.text != first.text
    assert talked.conversation.turns[0].boxes == (DOG,)
    assert_same(talked.regenerate(seed=1), first)
    talked.edit("and this?", [CAT, DOG])
    (turn,) = talked.conversation.turns
    assert (turn.question, turn.boxes, turn.settings.seed) == ("and this?", (CAT, DOG), 1)
    talked.edit("only words")
    assert talked.conversation.turns[0].boxes == (CAT, DOG)
    assert talked.undo().question == "only words"
    assert talked.conversation.turns == ()
    for nothing in (talked.undo, talked.regenerate, partial(talked.edit, "x")):
        with pytest.raises(GromaError, match="no question"):
            nothing()


def test_a_wrong_edit_loses_nothing() -> None:
    talked = chat()
    talked.ask("What is this?")
    before = talked.conversation
    for text, boxes in ((" ", None), ("x", [(5, 5, 1, 1)])):
        with pytest.raises(GromaError):
            talked.edit(text, boxes)
    assert talked.conversation is before


def test_a_saved_conversation_goes_on() -> None:
    talked, _ = grounded()
    talked.ask("and [1]?")
    saved = json.loads(json.dumps(talked.to_dict()))
    conversation = Conversation.from_dict(saved)
    assert conversation == talked.conversation
    assert conversation.to_dict() == saved
    other = talk.groma().chat(talk.picture(), conversation, max_new_tokens=SHORT)
    reply = other.ask("Is [2] on the left of [1]?", [CAT])
    assert other.conversation.turns[:-1] == talked.conversation.turns
    assert reply.image_size == talk.SIZE
    users = [r.box for r in other.conversation.regions if r.user is not None]
    assert users == [DOG, CAT]


def test_a_conversation_needs_a_picture_of_its_size() -> None:
    with pytest.raises(GromaError, match=r"80 x 60 .* 60 x 80"):
        talk.groma().chat(talk.picture().rotate(90, expand=True), Conversation(talk.SIZE))


def test_two_conversations_do_not_mix() -> None:
    questions = [("What is this?", [DOG]), ("and [1]?", [])], [("Where?", [CAT]), ("Why [1]?", [])]
    alone, both = (chat(), chat()), (chat(), chat())
    for asked in zip(*questions, strict=True):
        streams = [c.stream(*question) for c, question in zip(both, asked, strict=True)]
        assert list(zip_longest(*streams))
        for single, mixed, question in zip(alone, both, asked, strict=True):
            assert_same(single.ask(*question), mixed.conversation.turns[-1].reply)


def test_released_memory_comes_back_when_it_is_needed() -> None:
    talked, kept = chat(), chat()
    for c in (talked, kept):
        c.ask("What is this?", [DOG])
    assert talked.num_cached_bytes > 0
    talked.release()
    assert talked.num_cached_bytes == 0
    assert_same(talked.ask("and [1]?"), kept.ask("and [1]?"))


def test_an_empty_question_is_refused() -> None:
    talked = chat()
    for empty in ("", " \n"):
        with pytest.raises(GromaError, match="empty"):
            talked.ask(empty, [DOG])
    assert talked.conversation.turns == ()


def test_a_conversation_that_grows_too_long_says_so() -> None:
    groma = talk.tiny_groma(longest=300)
    talked = groma.chat(talk.encoded())
    with pytest.raises(GromaError, match=r"too long.* 300"):
        talked.ask("dog " * 300)
    for _ in range(20):
        try:
            reply = talked.ask("What is this?", max_new_tokens=100)
        except GromaError as error:
            assert "too long" in str(error)
            return
        assert reply.finish in ("stop", "length")
    raise AssertionError("the conversation never ended")


def test_pictures_come_in_any_form() -> None:
    image = talk.picture()
    groma = talk.groma()
    encoded = groma.encode_image(image)
    assert groma.encode_image(encoded) is encoded
    assert encoded.original_size == talk.SIZE
    assert groma.regions(encoded) == groma.regions(image)
    assert [region.id for region in groma.regions(image, max_regions=3)] == [0, 1, 2]
    with pytest.raises(GromaError):
        groma.chat(b"")


def test_gradients_and_modes_are_left_alone() -> None:
    stream = chat().stream("What is this?")
    next(stream)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    stream.close()


@pytest.mark.parametrize(
    ("question", "number"),
    [
        ("What is [7]?", 7),
        ("Is [1] left of [3]?", 3),
        ("[0]?", 0),
        ("[1000]", 1000),
        ("[01]", "01"),
    ],
)
def test_a_region_that_there_is_not_is_named(question: str, number: int | str) -> None:
    talked = chat()
    talked.ask("What is [1]?", [DOG])
    before = talked.conversation
    with pytest.raises(GromaError) as error:
        talked.ask(question, [CAT])
    expected = f"There is no region [{number}]; draw it, or name one of [1] to [2]."
    assert str(error.value) == expected
    assert talked.conversation is before


def test_a_missing_region_is_named_with_what_there_is() -> None:
    talked = chat()
    with pytest.raises(GromaError, match=r"no region \[1\]; draw it first\.$"):
        talked.ask("What is [1]?")
    talked.ask("What is [1]?", [DOG])
    with pytest.raises(GromaError, match=r"no region \[2\]; draw it, or name \[1\]\.$"):
        talked.ask("What is [2]?")


def test_regions_of_earlier_turns_and_other_brackets_may_be_named() -> None:
    talked = chat()
    talked.ask("What is this?", [DOG])
    talked.ask("Nothing drawn.")
    talked.ask("Is [1] left of [2]? [a] [1, 2] [ 7 ] [-3] [1.5]", [CAT])
    talked.regenerate()
    with pytest.raises(GromaError, match=r"no region \[2\]"):
        talked.edit("What is [2]?", [])
    assert len(talked.conversation.turns) == 3
    talked.undo()
    with pytest.raises(GromaError, match=r"no region \[2\]; draw it, or name \[1\]\."):
        talked.ask("What is [2]?")


def test_an_unfinished_answer_is_known_before_it_ends() -> None:
    talked = chat()
    talked.ask("What is this?", [DOG])
    assert talked.unfinished is talked.conversation
    stream = talked.stream("and [2]?", [CAT])
    reply = next(stream)
    unfinished = talked.unfinished
    assert len(talked.conversation.turns) == 1
    stream.close()
    assert unfinished == talked.conversation == talked.unfinished
    assert unfinished.turns[-1].reply == replace(reply, finish="cancelled")
