from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import pytest
import torch

from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.named_regions import GroundedSpan
from groma.serve.engine import Asked, Engine
from groma.shapes import Box
from groma.types import GromaError
from tests import talk
from tests.talk import CAT, DOG

SHORT = GenerationSettings(max_new_tokens=24)
PEOPLE = 12


def file(seed: int) -> bytes:
    kept = BytesIO()
    talk.picture(seed).save(kept, "PNG")
    return kept.getvalue()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = Engine(talk.tiny_groma(), at_once=PEOPLE)
    yield made
    made.close()


def ask(engine: Engine, picture: bytes, before: tuple[Asked, ...] = (), **asked) -> GroundedReply:
    question, boxes = asked.get("question", "What is this?"), asked.get("boxes", [DOG])
    with engine.talk(picture, before) as chat:
        *_, reply = engine.stream(chat, question, boxes, asked.get("settings", SHORT))
    return reply


def words_of(reply: GroundedReply) -> GroundedReply:
    """All but the last bits of the scores, which depend on who else computes."""
    spans = [
        GroundedSpan(s.start, s.end, tuple(replace(r, score=0, objectness=0) for r in s.regions))
        for s in reply.spans
    ]
    return replace(reply, spans=tuple(spans))


def settings_of(seed: int) -> GenerationSettings:
    return SHORT if seed % 2 else replace(SHORT, temperature=1.0, seed=seed)


def test_many_at_once_get_what_they_get_alone(engine: Engine) -> None:
    alone = talk.tiny_groma()
    expected = []
    for seed in range(PEOPLE):
        chat = alone.chat(talk.picture(seed))
        values = {"max_new_tokens": 24, "temperature": settings_of(seed).temperature}
        expected.append(chat.ask("What is this?", [DOG], seed=settings_of(seed).seed, **values))
    with ThreadPoolExecutor(PEOPLE) as pool:
        given = list(
            pool.map(
                lambda seed: ask(engine, file(seed), settings=settings_of(seed)), range(PEOPLE)
            )
        )
    assert list(map(words_of, given)) == list(map(words_of, expected))
    assert len({reply.text for reply in given}) > 1
    assert engine.counts.steps < engine.counts.tokens
    assert engine.counts.answering == 0


def test_a_talk_goes_on_where_it_was_left(engine: Engine) -> None:
    first = ask(engine, file(0))
    before = (Asked("What is this?", (Box(*DOG),), first.text),)
    with engine.talk(file(0), before) as chat:
        held = chat.num_tokens
        assert held > 0
        assert chat.conversation.turns[-1].answer_ids is not None
    assert engine.counts.pictures == 1
    whole = talk.tiny_groma().chat(talk.picture(0), max_new_tokens=24)
    whole.ask("What is this?", [DOG])
    expected = whole.ask("And [1] and this?", [CAT])
    given = ask(engine, file(0), before, question="And [1] and this?", boxes=[CAT])
    assert words_of(given) == words_of(expected)


def test_a_talk_that_is_not_remembered_is_put_together(engine: Engine) -> None:
    said = (Asked("What is this?", (Box(*DOG),), "A dog."),)
    with engine.talk(file(1), said) as chat:
        assert chat.conversation.turns[0].reply.text == "A dog."
        assert chat.conversation.turns[0].boxes == (DOG,)
        assert chat.num_tokens == 0


def test_a_new_talk_reads_nothing_again_that_another_one_about_its_picture_has_read(
    engine: Engine,
) -> None:
    ask(engine, file(4), question="Where is it?", boxes=())
    with engine.talk(file(4), ()) as chat:
        assert chat.num_tokens > 0
        assert not chat.conversation.turns
    given = ask(engine, file(4), question="What is this?", boxes=())
    alone = talk.tiny_groma().chat(talk.picture(4), max_new_tokens=24).ask("What is this?")
    assert words_of(given) == words_of(alone)


def test_a_lie_about_an_earlier_answer_is_a_mistake(engine: Engine) -> None:
    lie = replace(ask(engine, file(2)), image_size=(1, 1))
    with (
        pytest.raises(GromaError, match="no conversation"),
        engine.talk(file(2), (Asked("What?", (), lie.text, lie),)),
    ):
        pass


def test_what_a_program_says_was_answered_is_kept_for_nobody(engine: Engine) -> None:
    said = Asked(
        "What is this?",
        (Box(*DOG),),
        "A dog.",
        GroundedReply("A dog.", (), talk.picture(3).size[::-1], "stop"),
    )
    with engine.talk(file(3), (said,)) as chat:
        chat.ask("Where?", max_new_tokens=4)
    assert not engine._kept.talks


def test_what_is_kept_stays_within_the_budget() -> None:
    small = Engine(talk.tiny_groma(), budget=1)
    for seed in range(3):
        ask(small, file(seed))
    assert len(small._kept.talks) == len(small._kept.pictures) == 1
    small.close()


def test_an_answer_that_is_broken_off_is_not_counted_as_being_made(engine: Engine) -> None:
    with engine.talk(file(0), ()) as chat:
        stream = engine.stream(chat, "What is this?", [DOG], SHORT)
        next(stream)
        assert engine.counts.answering == 1
        stream.close()
    assert engine.counts.answering == 0


def test_an_engine_begun_beside_a_shared_step_has_all_cores(engine: Engine) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        list(pool.map(lambda seed: ask(engine, file(seed)), range(PEOPLE)))
        later = pool.submit(Engine, talk.tiny_groma()).result()
    assert later._cores._value == engine._cores._value == torch.get_num_threads()
    later.close()
