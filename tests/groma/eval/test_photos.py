"""`groma eval photos`, with a model that says what a test tells it to, on plain pictures."""

import json
import random
from types import SimpleNamespace

import pytest
from PIL import Image

from groma.chat.conversation import GroundedReply
from groma.cli import evaluate
from groma.cli import main as cli
from groma.eval.benchmarks.photos.photo_benchmark import Photos
from groma.eval.benchmarks.photos.photo_judging import FIGURES, judge_reply
from groma.eval.benchmarks.photos.photo_names import Names
from groma.eval.benchmarks.photos.photo_questions import (
    _NUM_ABSENT,
    Question,
    Thing,
    ask,
    find_companions,
)
from groma.eval.harness.asker import Asker, Protocol
from groma.eval.harness.benchmark_result import make_lines
from groma.eval.harness.benchmark_run import Shard, predict
from groma.named_regions import GroundedSpan, RegionRef
from groma.text.coco_names import SYNONYMS
from groma.types import GromaError
from tests import talk
from tests.groma.eval import benchmark_files as files

SIZE = (100, 200)
LEFT, RIGHT = (0.0, 0.0, 0.45, 0.9), (0.5, 0.0, 0.95, 0.9)
TINY, MIDDLE = (0.0, 0.9, 0.05, 1.0), (0.4, 0.3, 0.6, 0.7)
CATEGORIES = (
    *("dog", "cat", "person", "hot dog", "orange", "scissors", "tv", "couch", "car", "bus"),
    *("dining_table", "cup", "knife", "book", "clock", "bench"),
)
NAMES = Names(name.replace("_", " ") for name in CATEGORIES)
PICTURES = (
    [("dog", LEFT), ("cat", RIGHT), ("cup", TINY)],
    [("person", LEFT), ("person", RIGHT), ("dog", TINY)],
    [("scissors", MIDDLE), ("person", (0, 0, 1, 1), "crowd")],
    [("dining_table", RIGHT), ("tv", MIDDLE)],
    [],
)


def annotated(folder, pictures=PICTURES, scale=1):
    """A COCO-like file, and its pictures at another resolution than it says."""
    height, width = SIZE
    images, annotations = [], []
    for number, things in enumerate(pictures):
        name = f"{number}.png"
        Image.new("RGB", (width * scale, height * scale), (number,) * 3).save(folder / name)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for category, (x1, y1, x2, y2), *crowd in things:
            xywh = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
            annotations.append(
                {
                    **{"id": len(annotations), "image_id": number, "bbox": xywh},
                    **{"category_id": CATEGORIES.index(category), "iscrowd": int(bool(crowd))},
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CATEGORIES)]
    path = folder / "instances.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path


def say(*pieces, size=SIZE):
    """A reply; a piece with boxes is grounded, and the same box is the same region."""
    text, spans = "", []
    for piece in pieces:
        words, *boxes = (piece,) if isinstance(piece, str) else piece
        things = [Thing("", box) for box in boxes]
        refs = [RegionRef(hash(t.box), t.in_pixels(size), 1.0, 1.0) for t in things]
        if refs:
            spans.append(GroundedSpan(len(text), len(text) + len(words), tuple(refs)))
        text += words
    return GroundedReply(text, tuple(spans), size)


class Scripted:
    """Sees all true boxes of a benchmark's pictures and answers as it is told.

    Args:
        benchmark: with the pictures.
        speak: photograph, question and size of the picture -> reply.
        sees: whether it sees anything.
    """

    def __init__(self, benchmark, speak, sees=True):
        self.benchmark, self.speak, self.sees = benchmark, speak, sees
        self.config = SimpleNamespace(is_convolutional=False)
        self.template = None
        self.looked = []

    def encode_image(self, image, objectness_mix, detail):
        assert (objectness_mix, detail) == (None, 1)
        case = self.benchmark.cases[image.getpixel((0, 0))[0]]
        self.looked.append(case.key)
        size = image.height, image.width
        return SimpleNamespace(original_size=size, case=case, masks=None)

    def chat(self, image, **_):
        case, size = image.case, image.original_size

        def reply(text, boxes, grounding):
            assert grounding
            (question,) = [
                question
                for question in case.questions
                if question.text == text
                and (not boxes or boxes == (question.thing.in_pixels(size),))
            ]
            return self.speak(case, question, size)

        return SimpleNamespace(image=image, ask=reply, undo=lambda: None)

    def regions(self, image, **_):
        things = image.case.things if self.sees else ()
        return [SimpleNamespace(box=thing.in_pixels(image.original_size)) for thing in things]


def truthful(case, question, size):
    """Everything right."""
    thing = question.thing
    if question.kind == "describe":
        told = [(f"a {thing.name}", thing.box) for thing in case.things]
        return say("There is ", *(piece for each in told for piece in (each, " and ")), size=size)
    if question.kind == "absent":
        return say("No, I see nothing of the kind.", size=size)
    if question.kind == "name":
        return say(f"It is a {thing.name}.", size=size)
    return say("Yes, ", (f"the {thing.name}", thing.box), " is here.", size=size)


def silent(_, __, size):
    """Nothing."""
    return say(size=size)


def answers_of(benchmark, model, path=None):
    protocol = benchmark.protocol("words")
    settings = SimpleNamespace(
        **{"limit": None, "seed": 0, "protocol": protocol, "benchmark": "photos"},
        to_dict=lambda: {"benchmark": "photos"},
    )
    images = benchmark.sources[0].parent
    return predict(benchmark, settings, images, lambda: model, path, Shard())


def figures_of(benchmark, answers):
    """Key -> value, and how many cases."""
    lines = make_lines(benchmark.score(benchmark.cases, answers))
    return {line.figure.key: (line.estimate.value, line.estimate.cases) for line in lines}


@pytest.mark.parametrize("scale", [1, 3])
def test_who_sees_and_says_all_is_all_right(tmp_path, scale):
    benchmark = Photos(annotated(tmp_path, scale=scale))
    model = Scripted(benchmark, truthful)
    figures = figures_of(benchmark, answers_of(benchmark, model))
    assert model.looked == ["0", "1", "2", "3", "4"]
    assert list(figures) == list(FIGURES)
    wrong = {key for key in FIGURES if "unsure" in key} | {"where_nothing", "twice"}
    for key in FIGURES.keys() - {"regions"}:
        assert figures[key][0] == (0 if key in wrong else 100), key
    # Eleven boxes, one of them a crowd, two of them small.
    assert figures["regions"] == (9 / 5, 5)
    counted = {key: figures[key][1] for key in ("found", "found_small", "found_large", "name")}
    assert counted == {"found": 7, "found_small": 2, "found_large": 5, "name": 7}
    assert figures["where"][1] == 5
    assert figures["present"][1] == 8
    assert figures["present_visible"][1] == 6
    assert (figures["phrases"][1], figures["said"][1]) == (9, 7)


def test_who_sees_and_says_nothing_is_never_right(tmp_path):
    benchmark = Photos(annotated(tmp_path))
    figures = figures_of(benchmark, answers_of(benchmark, Scripted(benchmark, silent, sees=False)))
    assert figures.pop("where_nothing")[0] == 100
    assert figures.pop("phrases") == figures.pop("twice") == (None, 0)
    assert {value for value, _ in figures.values()} == {0}
    assert {key: each[0] for key, each in figures_of(benchmark, {}).items()} == {
        **dict.fromkeys(FIGURES, 0),
        **{"where_nothing": 100, "phrases": None, "twice": None},
    }


def test_a_run_goes_on_and_is_judged_again_without_a_model(tmp_path):
    benchmark, path = Photos(annotated(tmp_path)), tmp_path / "answers.jsonl"

    def tire(case, question, size):
        if case.key == "2":
            raise KeyboardInterrupt
        return truthful(case, question, size)

    with pytest.raises(KeyboardInterrupt):
        answers_of(benchmark, Scripted(benchmark, tire), path)
    model = Scripted(benchmark, truthful)
    answers = answers_of(benchmark, model, path)
    assert model.looked == ["2", "3", "4"]
    assert answers == answers_of(benchmark, Scripted(benchmark, truthful))
    again = json.loads(json.dumps(answers_of(benchmark, None, path)))
    assert figures_of(benchmark, again) == figures_of(benchmark, answers)


def test_replies_to_other_questions_are_refused(tmp_path):
    benchmark = Photos(annotated(tmp_path))
    answers = answers_of(benchmark, Scripted(benchmark, truthful))
    answers["1"]["replies"][0]["question"] = "Where is the dog?"
    with pytest.raises(GromaError, match="replies to case 1 are to other questions"):
        benchmark.score(benchmark.cases, answers)
    for broken in ({}, {"replies": [{}]}, {"replies": 3}):
        with pytest.raises(GromaError, match="answer to case 1 has no `replies`"):
            benchmark.score(benchmark.cases, answers | {"1": {"boxes": [], **broken}})


def test_what_cannot_be_used_is_told(tmp_path):
    path = annotated(tmp_path)
    data = json.loads(path.read_text())
    data["annotations"][0]["bbox"][2] = 0
    path.write_text(json.dumps(data))
    notes = Photos(path).score([], {}).notes
    assert "1 of the 10 things in the file cannot be used: a box without area (1)." in notes
    del data["categories"][0]
    path.write_text(json.dumps(data))
    with pytest.raises(GromaError, match="is no file of this benchmark"):
        Photos(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("It is a dog.", "dog"),
        ("Two dogs", "dog"),
        ("PEOPLE and their knives", "person"),
        ("It may be a cat, but I am not sure.", "cat"),
        ("a cat beside a dog", "cat"),
        ("a hot dog", "hot dog"),
        ("hotdogs", "hot dog"),
        ("an orange cat", "cat"),
        ("an orange", "orange"),
        ("an orange and a cat", "orange"),
        ("a television on the table", "tv"),
        ("a sofa", "couch"),
        ("a wooden dining table", "dining table"),
        ("a hotdoggery", None),
        ("I cannot tell what it is.", None),
        ("", None),
    ],
)
def test_words_name_things(text, name):
    assert NAMES.first(text) == name


def test_every_synonym_means_its_name_unless_it_is_one():
    for name, words in SYNONYMS.items():
        assert {NAMES.first(f"It is a {word}.") for word in (name, *words)} == {name}
    assert Names(["car", "taxi", "van"]).first("two taxis and a car") == "taxi"
    assert Names(["car"]).first("two taxis and a car") == "car"
    assert Names(["bow (weapon)"]).first("a bow (weapon) here") == "bow (weapon)"


def judged(question, reply, things=(), crowds=()):
    """Key -> outcomes."""
    found = {}
    for key, outcome in judge_reply(question, reply, things, crowds, NAMES):
        found.setdefault(key, []).append(bool(outcome))
    return found


DOG, CAT, CUP = Thing("dog", LEFT), Thing("cat", RIGHT), Thing("cup", TINY)


@pytest.mark.parametrize(
    ("text", "is_right", "is_unsure"),
    [
        ("It is a dog.", True, False),
        ("It may be a dog.", True, True),
        ("Perhaps a puppy or a cat.", True, True),
        ("It may be a cat or a dog, but I am not sure.", False, True),
        ("It could be a skirt or a dog.", False, True),
        ("A cat with a dog.", False, False),
        ("A dog with a cat.", True, False),
        ("I cannot tell what it is.", False, False),
        ("", False, False),
    ],
)
def test_the_first_name_of_a_marked_thing_counts(text, is_right, is_unsure):
    found = judged(Question("name", "What is [1]?", DOG), say(text))
    assert found == {"name": [is_right], "name_unsure": [is_unsure]}


@pytest.mark.parametrize(
    ("reply", "is_denied", "is_affirmed", "is_unsure"),
    [
        (say("No, there is no dog in the picture."), True, False, False),
        (say("There isn\u2019t a dog."), True, False, False),
        (say("I do not see any."), True, False, False),
        (say("I can't find a dog."), True, False, False),
        (say("The picture does not show a dog."), True, False, False),
        (say("No, but here is ", ("a cat", RIGHT)), False, True, False),
        (say("Yes, not far from the cat."), False, True, False),
        (say("There is a dog."), False, True, False),
        (say("Here is ", ("a dog", LEFT)), False, True, False),
        (say("There may be ", ("a dog", LEFT), ", but I am not sure."), False, True, True),
        (say("There may be a dog, but I am not sure."), False, True, True),
        (say("Probably not."), False, True, True),
        (say("I have not learnt what dogs look like."), False, False, False),
        (say("I cannot tell what anybody is doing."), False, False, False),
        (say("I do not guess ages, feelings or anything of the kind."), False, False, False),
        (say(""), False, False, False),
    ],
)
def test_denied_affirmed_doubted(reply, is_denied, is_affirmed, is_unsure):
    absent = Question("absent", "Is there a dog?")
    found = judged(absent, reply)
    assert found == {"absent": [is_denied], "absent_unsure": [is_unsure]}
    likely = Question("absent", "Is there a dog?", is_likely=True)
    assert judged(likely, reply)["absent_likely"] == [is_denied]
    found = judged(Question("present", "Is there a dog?", DOG), reply)
    assert found["present"] == found["present_visible"] == [is_affirmed]
    assert found["present_unsure"] == [is_affirmed and is_unsure]
    assert "present_visible" not in judged(Question("present", "Is there a cup?", CUP), reply)


def test_the_first_region_is_where_it_is():
    question = Question("where", "Where is the dog?", DOG)
    for reply, outcome in (
        (say(("The dog", LEFT), " is here."), (True, False)),
        (say(("Both", LEFT, RIGHT)), (True, False)),
        (say(("Both", RIGHT, LEFT)), (False, False)),
        (say("It is on the left."), (False, True)),
    ):
        found = judged(question, reply)
        assert (found["where"], found["where_nothing"]) == ([outcome[0]], [outcome[1]])


@pytest.mark.parametrize(
    ("reply", "phrases", "said", "twice"),
    [
        (say(("a dog", LEFT), ("a cat", RIGHT)), [True, True], [True, True], [False, False]),
        (say(("a cat", LEFT), ("a dog", RIGHT)), [False, False], [False, False], [False, False]),
        (say(("a dog", LEFT), ("a dog", LEFT)), [True, False], [True, False], [False, True]),
        (say(("two dogs", LEFT, RIGHT)), [True, False], [True, False], [False]),
        (say(("a thing", LEFT)), [False], [False, False], [False]),
        (say(("a cup", TINY)), [True], [False, False], [False]),
        (say("A dog and a cat."), [], [False, False], []),
        (say(("a dog", (0.0, 0.0, 0.45, 0.4))), [False], [False, False], [False]),
    ],
)
def test_phrases_are_right_where_their_thing_is_and_new(reply, phrases, said, twice):
    question = Question("describe", "Describe the picture.")
    found = judged(question, reply, (DOG, CAT, CUP))
    assert sorted(found.get("phrases", [])) == sorted(phrases)
    assert found["said"] == said
    assert found.get("twice", []) == twice


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong():
    crowds = (Thing("person", LEFT),)
    question = Question("describe", "Describe the picture.")
    one, inside, beside = (0.0, 0.0, 0.1, 0.3), (0.2, 0.2, 0.4, 0.9), (0.6, 0.2, 0.8, 0.9)
    reply = say(("a person", one), ("people", inside, beside), ("a cat", inside))
    found = judged(question, reply, (Thing("person", one),), crowds)
    assert found["phrases"] == [True, False, False]


def test_sizes_are_shares_of_the_picture():
    sides = {0.05: "small", 0.0999: "small", 0.1001: "medium", 0.2999: "medium", 0.31: "large"}
    assert {side: Thing("", (0, 0, side, side)).size for side in sides} == sides
    assert Thing("", (0, 0, 1, 0.04)).side == pytest.approx(0.2)


def asked(things, crowds=(), index=0):
    """Questions in a file where dogs meet cats, and buses cars."""
    from groma.dice import Dice

    names = [name.replace("_", " ") for name in CATEGORIES]
    companions = find_companions(names, [{"dog", "cat"}, {"dog", "person"}, {"bus", "car"}])
    return list(ask(things, crowds, companions, Dice.of("test", 0, index)))


def texts(questions, kind):
    return [question.text for question in questions if question.kind == kind]


def test_who_has_a_twin_is_not_looked_for():
    twin = Thing("dog", MIDDLE)
    assert texts(asked([DOG, CAT, CUP]), "where") == ["Where is the dog?", "Where is the cat?"]
    for things, crowds in (((DOG, twin), ()), ((DOG, Thing("dog", TINY)), ()), ((DOG,), (twin,))):
        assert texts(asked(things, crowds), "where") == []
    scissors = Thing("scissors", LEFT)
    assert texts(asked([scissors]), "where") == ["Where are the scissors?"]
    assert texts(asked([scissors]), "present") == ["Is there a pair of scissors?"]


def test_what_is_absent_is_drawn_once_and_for_all():
    drawn = set()
    for index in range(40):
        questions = asked([DOG], [Thing("bus", LEFT)], index)
        assert questions == asked([DOG], [Thing("bus", LEFT)], index)
        absent = texts(questions, "absent")
        assert len(set(absent)) == len(absent) >= _NUM_ABSENT
        assert not {"Is there a dog?", "Is there a bus?"} & set(absent)
        likely = {question.text for question in questions if question.is_likely}
        assert likely <= {"Is there a cat?", "Is there a person?", "Is there a car?"}
        assert likely | set(absent[:_NUM_ABSENT]) >= {"Is there a cat?", "Is there a car?"}
        drawn.update(absent)
    assert len(drawn) == len(CATEGORIES) - 2


def test_questions_do_not_depend_on_which_pictures_are_asked_about(tmp_path):
    one, two = (Photos(annotated(tmp_path)).cases for _ in range(2))
    assert one == two
    assert len({case.questions for case in one}) == len(one)


def test_better_regions_are_never_worse(tmp_path):
    """More regions find at least as much, whatever they are."""
    benchmark, dice = Photos(annotated(tmp_path)), random.Random(3)
    answers = answers_of(benchmark, Scripted(benchmark, silent, sees=False))
    before = 0
    for _ in range(60):
        for answer in answers.values():
            x1, y1, x2, y2 = (dice.random() for _ in range(4))
            box = [min(x1, x2) * 200, min(y1, y2) * 100, max(x1, x2) * 200, max(y1, y2) * 100]
            answer["boxes"] = [*answer["boxes"], box]
        found = figures_of(benchmark, answers)["found"][0]
        assert found >= before
        before = found
    assert before > 0


def test_models_with_one_objectness_are_asked_too(tmp_path):
    """A detector with classes has one objectness, and a proposer without settings."""
    benchmark = Photos(annotated(tmp_path))
    model = Scripted(benchmark, truthful)
    model.config.is_convolutional = True
    assert answers_of(benchmark, model).keys() == {"0", "1", "2", "3", "4"}
    with pytest.raises(GromaError, match="one objectness alone"):
        Asker(model, Protocol("words", 8, objectness="coco"))


def test_a_tiny_model_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "load_model", lambda _: talk.groma())
    target, save = tmp_path / "model", tmp_path / "answers.jsonl"
    talk.groma().model.save_pretrained(target)
    arguments = ["eval", "photos", "--annotations", str(files.COCO), "--json"]
    more = ("--images", str(files.IMAGES), "--model", str(target), "--max-new-tokens", "8")
    assert cli.main([*arguments, *more, "-n", "2", "--save", str(save)]) == 0
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert "photos: 100%" in output.err
    assert found["run"]["protocol"]["grounding"] is True
    assert list(found["figures"]) == list(FIGURES)
    assert found["figures"]["regions"]["cases"] == 2
    assert found["figures"]["name"]["cases"] > 0
    assert cli.main([*arguments, "--predictions", str(save)]) == 0
    assert json.loads(capsys.readouterr().out) == found
