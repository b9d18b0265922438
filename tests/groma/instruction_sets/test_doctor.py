"""Whatever is wrong with a set is said in words and mended, and nothing is said of a good one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.data.sample import Mention, Phrase
from groma.instruction_sets.doctor import showing
from groma.instruction_sets.doctor.checking import check, fix, repair, worst_first
from groma.instruction_sets.doctor.showing import overlay, supervised_text
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import left_out, to_sample, to_samples
from groma.instruction_sets.readers.writing import write_set
from groma.text.template import Template
from groma.tokens import TokenIds
from groma.types import GromaError
from tests.groma.instruction_sets import make
from tests.groma.text import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    make.write_pictures(folder)
    return folder


@pytest.fixture(scope="module")
def template() -> Template:
    tokenizer = toy.tokenizer("llama")
    return Template(tokenizer, TokenIds(len(tokenizer)))


def _say(turn: int, item: int = 0, **fields: object) -> Callable[[make.Items], None]:
    """A mistake in one message."""
    return lambda items: items[item]["conversation"][turn].update(fields)


def _set(item: int = 0, **fields: object) -> Callable[[make.Items], None]:
    """A mistake in the fields of an item."""
    return lambda items: items[item].update(fields)


def _drop(*fields: str) -> Callable[[make.Items], None]:
    return lambda items: [items[0].pop(field) for field in fields] and None


def _box(index: int, box: object) -> Callable[[make.Items], None]:
    return lambda items: items[0]["boxes"].__setitem__(index, box)


def _cut_said(start: int, stop: int) -> Callable[[make.Items], None]:
    return lambda items: items[0].update(conversation=items[0]["conversation"][start:stop])


def _first(items: make.Items) -> dict:
    return items[0]["conversation"][0]


def _swap_said(items: make.Items) -> None:
    said = items[0]["conversation"]
    said[1], said[2] = said[2], said[1]


def _no_numbers(items: make.Items) -> None:
    items[0]["conversation"] = items[0]["conversation"][:2]
    items[0]["conversation"][1].pop("box_inds")


def _from_one(items: make.Items) -> None:
    for message in items[0]["conversation"]:
        message["box_inds"] = [index + 1 for index in message.get("box_inds", [])]


def _all_alike(items: make.Items) -> None:
    for item in items:
        item["conversation"][1] = {"from": "gpt", "value": "Nothing."}
        item["conversation"][3] = {"from": "gpt", "value": "Nothing."}
    items.append(items[0] | {"file_name": "5.png"})


def _scale_size(items: make.Items) -> None:
    items[0].update(height=50, width=100, boxes=[[5, 2, 15, 20], [75, 30, 22, 17], [2, 25, 95, 24]])


BROKEN = {
    # Boxes in another layout, of all items and of one.
    "xyxy": ("layout-set", make.boxes_as(make.to_xyxy)),
    "cxcywh": ("layout-set", make.boxes_as(make.to_centre)),
    "fractions": ("layout-set", make.boxes_as(make.scaled(1))),
    "thousandths": ("layout-set", make.boxes_as(make.scaled(1000))),
    "fractions-xyxy": ("layout-set", make.boxes_as(lambda b: make.scaled(1)(make.to_xyxy(b)))),
    "one-xyxy": ("layout-item", lambda items: make.boxes_as(make.to_xyxy)(items[:1])),
    # Pictures and sizes.
    "missing": ("picture-missing", _set(file_name="nowhere.png")),
    "other-case": ("picture-missing", _set(file_name="0.PNG")),
    "other-ending": ("picture-missing", _set(file_name="sub/0.jpeg")),
    "outside": ("picture-outside", _set(file_name="../../etc/passwd")),
    "odd-name": ("picture-missing", _set(file_name="x\0y" * 200)),
    "damaged": ("picture-unreadable", _set(file_name="damaged.png")),
    "unnamed": ("picture-unnamed", _drop("file_name")),
    "no-size": ("size-missing", _drop("height", "width")),
    "zero-size": ("size-missing", _set(height=0, width=-4)),
    "swapped": ("size-swapped", _set(height=make.WIDTH, width=make.HEIGHT)),
    "turned": ("size-turned", _set(height=200, width=100, boxes=[[5, 120, 50, 70]] * 3)),
    "shape": ("size-shape", _set(height=300, width=310)),
    "other-picture": ("size-shape", _set(height=300, width=310, boxes=[[100, 200, 200, 90]] * 3)),
    "scaled": ("size-scaled", _scale_size),
    "wrong-scale": ("size-boxes", _set(height=50, width=100)),
    # Single boxes.
    "words-as-box": ("box-numbers", _box(0, "left of the tree")),
    "three-numbers": ("box-numbers", _box(1, [1, 2, 3])),
    "not-finite": ("box-numbers", _box(1, [1, 2, float("nan"), 4])),
    "huge": ("box-numbers", _box(2, [1, 2, 10**400, 4])),
    "inverted": ("box-inverted", _box(0, [40, 45, -30, -40])),
    "no-area": ("box-empty", _box(0, [10, 5, 0, 40])),
    "beyond": ("box-outside", _box(0, [300, 5, 20, 40])),
    "over-edge": ("box-over-edge", _box(1, [150, 60, 60, 35])),
    "twice-a-box": ("box-twice", _box(1, [10, 5, 30, 40])),
    "unused": ("box-unused", lambda items: items[0]["boxes"].append([1, 1, 5, 5])),
    "many": ("boxes-many", _set(boxes=[[i, i % 50, 5, 5] for i in range(150)], conversation=[
        {"from": "human", "value": "All?"},
        {"from": "gpt", "value": f"<p>a</p><roi>{'<ground_box>' * 150}</roi>",
         "box_inds": list(range(150))}])),
    # References to boxes.
    "from-one": ("box-number", _from_one),
    "no-such-box": ("box-number", _say(1, box_inds=[0, 1, 7])),
    "no-such-user-box": ("box-number", _say(2, box_inds=[1, 7])),
    "too-few": ("place-count", _say(1, box_inds=[0])),
    "too-many": ("place-count", _say(3, box_inds=[0, 2])),
    "none-numbered": ("place-count", _no_numbers),
    "pointers": ("pointer-count", _say(2, value="Is <roi><refer_box></roi><refer_feat> red?")),
    "high-number": ("pointer-number", _say(2, value="Is [1] like [4]?")),
    "unclosed": ("tag-stray", _say(3, value="<p>Yes, it is")),
    "phrase-alone": ("tag-stray", _say(3, value="<p>Yes</p>, it is")),
    "tag-in-question": ("tag-stray", _say(0, value="What is <ground_box>?")),
    "no-words": ("phrase-empty", _say(3, value="Yes <roi><ground_box></roi>", box_inds=[0])),
    # Turns and texts.
    "no-words-at-all": ("conversation-empty", _set(conversation=[])),
    "no-answer": ("turn-last", _cut_said(0, 3)),
    "answer-first": ("turn-first", _cut_said(1, 4)),
    "in-a-row": ("turn-twice", _swap_said),
    "stranger": ("turn-role", _say(0, **{"from": "system"})),
    "nobody": ("turn-role", _say(0, **{"from": None})),
    "empty-answer": ("text-empty", _say(3, value=" \n")),
    "empty-question": ("text-empty", _say(0, value="[grounding] ")),
    "garbled": ("text-garbled", _say(3, value="Yes\ufffd\x07, <\x00p>")),
    "region-name": ("text-tag", _say(3, value="Yes, <r12> and <image>")),
    "other-model": ("text-tag", _say(3, value="<|im_start|>Yes, <<box>p>1</box></s>")),
    "coordinates": ("text-coordinates", _say(3, value="At [0.1, 0.25, 0.5, 1].")),
    # Items and sets.
    "no-object": ("item-unreadable", lambda items: items.append(7)),
    "no-conversation": ("item-unreadable", lambda items: items.append({"file_name": "0.png"})),
    "no-list": ("item-unreadable", _set(conversation="Hello?")),
    "boxes-no-list": ("item-unreadable", _set(boxes={"0": [1, 2, 3, 4]})),
    "no-messages": ("item-unreadable", _set(conversation=["Hello?", "Yes."])),
    "no-text": ("item-unreadable", _say(1, value=None)),
    "odd-numbers": ("item-unreadable", _say(1, box_inds=["0", None, True])),
    "two-pictures": ("item-unreadable", _set(file_name=["0.png", "1.png"])),
    "same-item": ("item-twice", lambda items: items.append(dict(items[0]))),
    "otherwise": ("answers-differ", lambda items: items.append(
        items[0] | {"conversation": [_first(items), {"from": "gpt", "value": "No"}]})),
    "same-answer": ("answers-same", _all_alike),
    "nothing": ("set-empty", lambda items: [i.update(conversation=[]) for i in items] and None),
}  # fmt: skip


def test_there_are_many_kinds() -> None:
    assert len({code for code, _ in BROKEN.values()}) >= 30


@pytest.mark.parametrize("name", BROKEN)
def test_broken_sets_are_said_in_words_and_mended(name: str, folder: Path, tmp_path: Path) -> None:
    code, spoil = BROKEN[name]
    items = make.good_items()
    spoil(items)
    broken = make.read(items, folder)
    findings = check(broken)
    found = {finding.code: finding for finding in findings}
    assert code in found
    # One kind of mistake is not taken for many.
    assert len(found) <= 3, found
    for finding in findings:
        assert finding.sentence[0].isupper() or finding.sentence[0] in "'<0123456789"
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence
    can_be_learnt = {item.number for item in broken.items} - set(left_out(broken))
    errors = {f.item for f in findings if f.severity == "error"}
    if None not in errors:
        # Boxes in another frame can be learnt, but wrongly.
        assert can_be_learnt.isdisjoint(errors) or code in ("layout-item", "size-boxes")
        assert can_be_learnt | errors == {item.number for item in broken.items}

    mended = repair(broken)
    after = check(mended)
    assert not [f for f in after if f.severity == "error" and f.code != "set-empty"]
    assert not [f for f in after if f.fix]
    assert not left_out(mended)
    assert broken == make.read(items, folder)
    if not mended.items:
        with pytest.raises(GromaError, match="left"):
            write_set(mended, tmp_path / "mended.json")
        return
    write_set(mended, tmp_path / "mended.json")
    assert to_samples(read_set(tmp_path / "mended.json", folder)) == to_samples(mended)


GOOD_BOXES = ((0.05, 0.05, 0.2, 0.45), (0.75, 0.6, 0.975, 0.95), (0.025, 0.5, 0.975, 0.98))


@pytest.mark.parametrize(
    "name",
    (
        *("xyxy", "cxcywh", "fractions", "thousandths", "fractions-xyxy"),
        *("one-xyxy", "swapped", "no-size", "inverted", "other-case"),
        *("wrong-scale", "from-one", "none-numbered"),
    ),
)
def test_mended_boxes_are_where_they_should_be(name: str, folder: Path) -> None:
    items = make.good_items()
    BROKEN[name][1](items)
    samples = to_samples(repair(make.read(items, folder)))
    assert len(samples) == len(items)
    for sample in samples:
        assert sample.size == (make.HEIGHT, make.WIDTH)
        for box, right in zip(sample.boxes, GOOD_BOXES, strict=True):
            assert box == pytest.approx(right, abs=1e-6)
        assert sample.turns[0].answer[0] == Phrase("Two dogs", (0, 1))


def test_nothing_is_said_of_good_sets(folder: Path, template: Template) -> None:
    for items in (make.good_items(), make.good_llava()):
        good = make.read(items, folder)
        assert check(good, template, 10_000) == ()
        assert repair(good).items == good.items
        samples = to_samples(good)
        assert [Path(sample.picture).name for sample in samples] == list(make.PICTURES)
        assert all(Path(sample.picture).is_absolute() for sample in samples)


def test_no_text_of_llava_has_a_meaning(folder: Path, template: Template) -> None:
    tags = "<p>dog</p><roi><ground_box></roi> [1] <roi><refer_box></roi><refer_feat> <r3> &lt;p>"
    said = [
        {"from": "human", "value": f"[grounding] <image> {tags}"},
        {"from": "gpt", "value": f"[grounding] {tags} </s>"},
    ]
    found = make.read([{"image": "0.png", "conversations": said}], folder)
    (sample,) = to_samples(found)
    assert sample.turns[0].question == (f"[grounding] <image> {tags}",)
    assert sample.turns[0].answer == (f"[grounding] {tags} </s>",)
    assert not sample.turns[0].grounding
    ((_, preamble_learnt), *_) = supervised_text(sample, template, 10_000)
    assert not preamble_learnt
    assert {finding.code for finding in check(found)} == {"text-tag"}
    (clean,) = to_samples(repair(found))
    assert "<" not in clean.turns[0].answer[0].replace("&lt;", "")


def test_a_fix_changes_nothing_else(folder: Path) -> None:
    items = make.good_items()
    for spoil in (_box(0, [10, 5, 0, 40]), _say(3, value=""), _set(3, file_name="nowhere.png")):
        spoil(items)
    broken = make.read(items, folder)
    findings = check(broken)
    (empty,) = [finding for finding in findings if finding.code == "box-empty"]
    mended = fix(broken, [empty])
    assert mended.items[1:] == broken.items[1:]
    assert len(mended.items[0].boxes) == 2
    # The question pointed at the box that is gone.
    assert len(mended.items[0].messages) == 2
    assert mended.items[0].messages[1].text.startswith("<p>Two dogs</p><roi><ground_box></roi>")
    assert [f.code for f in check(mended)] == ["picture-missing"]
    assert fix(broken, []).items == broken.items


def test_questions_keep_their_boxes_when_others_leave(folder: Path) -> None:
    items = make.good_items()
    said = items[0]["conversation"]
    said[2:] = [
        {"from": "human", "value": "And [1]?", "box_inds": [2]},
        {"from": "gpt", "value": ""},
        {"from": "human", "value": "Is [2] like [1] or [3]?", "box_inds": [0]},
        {"from": "gpt", "value": "No."},
    ]
    (sample, *_) = to_samples(repair(make.read(items, folder)))
    assert sample.turns[1].question == ("Is ", Mention(0), " like ", Mention(2), " or [3]?")


def test_what_would_be_cut_is_said(folder: Path, template: Template) -> None:
    items = make.good_items()
    for turn in range(40):
        items[0]["conversation"] += [
            {"from": "human", "value": f"What is number {turn}?"},
            {"from": "gpt", "value": "This is a dog on the left of the cat."},
        ]
    items[1]["conversation"][1] = {"from": "gpt", "value": "word " * 900}
    long = make.read(items, folder)
    found = {f.code: f for f in check(long, template, 700) if f.code.startswith("length")}
    assert set(found) == {"length-conversation", "length-answer"}
    mended = repair(long, template, 700)
    assert check(mended, template, 700) == ()
    assert [item.number for item in mended.items] == [0, 2, 3, 4, 5]
    sample = to_sample(mended, mended.items[0])
    text = "".join(part for part, _ in supervised_text(sample, template, 700))
    # What is left is exactly what had been read of the whole.
    whole = supervised_text(to_sample(long, long.items[0]), template, 700)
    assert "".join(part for part, _ in whole) == text
    assert (
        f"of 42 questions the first {len(sample.turns)} stay"
        in found["length-conversation"].sentence
    )


def test_only_answers_are_learnt(folder: Path, template: Template) -> None:
    (sample, *_) = to_samples(make.read(make.good_items(), folder))
    learnt = [part for part, is_learnt in supervised_text(sample, template, 10_000) if is_learnt]
    assert learnt == [
        "<p>Two dogs</p><roi><box 1><box 2></roi>on<p>grass 0</p><roi><box 3></roi>.</s>",
        "Yes, 0 times.</s>",
    ]


QWEN = "<|object_ref_start|>two dogs<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>"


def _say_qwen(answer: str, question: str = "Where?") -> make.Items:
    said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return [{"image": "0.png", "conversations": said}]


def test_boxes_in_texts_of_qwen_become_boxes(folder: Path) -> None:
    more = "<|box_start|>(0,0),(500, 1000)<|box_end|>"
    old = "<ref>the cat</ref><box>(500,500),(600,700)</box>"
    found = make.read(_say_qwen(f"{QWEN}{more}, </s>no.", f"Is {old} here?"), folder)
    (finding,) = check(found)
    assert (finding.code, finding.is_sure) == ("text-coordinates", True)
    mended = repair(found)
    assert check(mended) == ()
    (sample,) = to_samples(mended)
    assert sample.turns[0].question == ("Is the cat ", Mention(0), " here?")
    assert sample.turns[0].answer == (Phrase("two dogs", (1, 2)), ", no.")
    assert [pytest.approx(box) for box in sample.boxes] == [
        (0.5, 0.5, 0.6, 0.7),
        (0.1, 0.2, 0.3, 0.4),
        (0, 0, 0.5, 1),
    ]


@pytest.mark.parametrize(
    "answer", [QWEN.replace("300", "1300"), "Here: <box>(100,200),(300,400)</box>"]
)
def test_boxes_in_texts_are_never_lost_in_silence(answer: str, folder: Path) -> None:
    found = make.read(_say_qwen(answer), folder)
    assert {finding.code for finding in check(found)} == {"text-tag", "text-coordinates"}
    assert [finding.code for finding in check(repair(found))] == ["text-coordinates"]


def test_overlay_and_text_number_boxes_alike(
    folder: Path, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(showing, "draw_boxes", lambda *args: seen.extend(args[-1]))
    found = make.read(make.good_items(), folder)
    overlay(found, 0)
    assert seen == ["1 Two dogs", "2 Two dogs", "3 grass 0"]
    text = "".join(part for part, _ in supervised_text(to_samples(found)[0], template, 10_000))
    assert "grass 0</p><roi><box 3>" in text
    items = make.good_items()
    items[0]["boxes"][2] = [1, 1, 0, 1]
    assert "Box 2 is without area" in check(make.read(items, folder))[0].sentence


def test_overlay_shows_boxes_as_they_are_read(folder: Path) -> None:
    items = make.good_items()
    items[0]["boxes"][:2] = [[10, 10, 50, 50], [1, 2]]
    image = overlay(make.read(items, folder), 0)
    assert image.size == (make.WIDTH, make.HEIGHT)
    plain = image.getpixel((100, 40))
    assert image.getpixel((60, 30)) != plain
    assert image.getpixel((30, 30)) == plain
    with pytest.raises(GromaError, match="no item 7"):
        overlay(make.read(items, folder), 6)


def test_worst_come_first(folder: Path) -> None:
    items = make.good_items()
    for spoil in (_drop("height", "width"), _say(3, 1, value="<r1>"), _say(3, 2, value="")):
        spoil(items)
    found = worst_first(check(make.read(items, folder)))
    assert [finding.severity for finding in found] == ["error", "warning", "note"]


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 300),
        st.floats(),
        st.text(max_size=4),
        st.sampled_from(["human", "gpt", "0.png", "<p>", "<roi><ground_box></roi>", "[1]", "a b"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                (
                    *("file_name", "height", "width", "boxes", "conversation"),
                    *("conversations", "image", "from", "value", "box_inds", "images"),
                    *("annotations", "bbox", "caption", "id", "image_id", "filename"),
                    *("regions", "shape_attributes", "region_attributes"),
                )
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)

MESSAGES = st.builds(
    lambda role, parts, boxes: {"from": role, "value": "".join(parts), "box_inds": boxes},
    st.sampled_from(["human", "gpt", "gpt", "human", "system"]),
    st.lists(
        st.sampled_from(
            (
                *("a_dog", "<p>", "</p>", "<roi>", "</roi>", "<ground_box>"),
                *("<p>it</p><roi><ground_box></roi>",),
                *("<roi><refer_box></roi><refer_feat>", "[1]", "[2]", "<refer_box>"),
                *("&lt;", "<", "<r3>"),
            )
        ),
        max_size=6,
    ),
    st.lists(st.integers(-1, 4), max_size=3),
)

LIKELY = st.lists(
    st.fixed_dictionaries(
        {
            "file_name": st.sampled_from(["0.png", "1.png", "no.png"]),
            "boxes": st.lists(st.lists(st.integers(-20, 300), min_size=3, max_size=4), max_size=4),
            "conversation": st.lists(MESSAGES, max_size=7),
        },
        optional={"height": st.integers(0, 300), "width": st.integers(0, 300)},
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(data=st.one_of(JSON, LIKELY, LIKELY))
def test_nothing_crashes_and_everything_is_mended(
    data: object, folder: Path, template: Template
) -> None:
    try:
        broken = make.read(data, folder)
    except GromaError:
        return
    mended = repair(broken, template, 500)
    findings = check(mended, template, 500)
    if choices := [f for f in findings if f.severity == "error" and f.fix and f.fix.choice]:
        mended = repair(fix(mended, choices[-1:]), template, 500)
        findings = check(mended, template, 500)
    assert not [f for f in findings if f.severity == "error" and f.code != "set-empty"]
    assert not left_out(mended)
    for sample in to_samples(mended):
        assert supervised_text(sample, template, 500)
