import shutil
from pathlib import Path

import pytest
from PIL import Image

from groma.cli import data
from groma.cli import main as cli
from groma.data.set_preview import _LEARNT
from tests.groma.data.test_parsers import REASONS
from tests.groma.train import tiny_language


@pytest.fixture(autouse=True)
def _tiny_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "load_template", lambda _: tiny_language.template())


def test_stats_count_everything(public: Path, capsys: pytest.CaptureFixture) -> None:
    rows = {}
    for name in ("detection", "conversations"):
        assert cli.main(["data", "stats", str(public / f"{name}.toml"), "--no-pictures"]) == 0
        head, *lines = capsys.readouterr().out.splitlines()
        rows |= {line.split()[0]: line for line in lines}
    assert head.split()[:3] == ["source", "format", "items"]
    assert rows.keys() == REASONS.keys()
    for name, reasons in REASONS.items():
        assert all(f"{reason} ({count})" in rows[name] for reason, count in reasons.items())
        assert f"  {sum(reasons.values())}" in rows[name]
    assert rows["sharegpt4v"].split()[2:8] == ["3", "6", "3", "0", "0", "3"]
    assert {name for name, row in rows.items() if "| boxes: a box without area (1)" in row} == {
        *("coco", "objects365", "v3det", "coco-find")
    }


def test_stats_count_boxes_that_are_lost_from_items_kept(
    public: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    shutil.copytree(public / "flickr30k", tmp_path / "flickr30k")
    file = tmp_path / "flickr30k/Annotations/1000.xml"
    file.write_text(file.read_text().replace("<ymax>", "<ymax>-", 1))
    config = tmp_path / "config.toml"
    config.write_text(
        "[[sources]]\nname = 'flickr'\nformat = 'flickr30k'\nannotations = 'flickr30k'\n"
        "images = 'flickr30k/images'"
    )
    assert cli.main(["data", "stats", str(config)]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    # Both sentences of the picture name the thing whose box is broken; the second nothing else.
    assert row.split()[4:10] == ["6", "12", "1", "3", "0", "3"]
    assert row.endswith(
        "items: boxes that cannot be read (2); no phrase with a box (1) | "
        "boxes: a box without area (1)"
    )


def test_stats_look_for_pictures_and_may_read_less(
    public: Path, capsys: pytest.CaptureFixture
) -> None:
    config = str(public / "conversations.toml")
    assert cli.main(["data", "stats", config]) == 0
    assert "a picture that is missing (1)" in capsys.readouterr().out
    assert cli.main(["data", "stats", config, "--limit", "2"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split()[4] for row in rows} == {"2"}


def test_show_draws_boxes_and_marks_what_is_learnt(
    public: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    target = tmp_path / "out.png"
    config = str(public / "conversations.toml")
    options = ["--source", "vg-multi", "--save", str(target), "--model", "groma-mini"]
    assert cli.main(["data", "show", config, "0", *options]) == 0
    out = capsys.readouterr().out
    learnt = [part.split(_LEARNT[1])[0] for part in out.split(_LEARNT[0])[1:]]
    assert len(learnt) == 2
    assert all(text.strip().startswith("a ") and text.endswith("</s>") for text in learnt)
    assert all(part in out for part in ("<box ", "USER:", "<refer_feat>", "VG_100K_2/1.jpg"))
    plain = Image.open(public / "visual_genome/VG_100K_2/1.jpg")
    assert Image.open(target).size == plain.size
    assert Image.open(target).convert("RGB").tobytes() != plain.tobytes()


def test_show_takes_a_position_in_the_mixture(
    public: Path,
    capsys: pytest.CaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    config, model = str(public / "detection.toml"), ("--model", "groma-mini")
    codes = [cli.main(["data", "show", config, str(n), *model]) for n in range(8)]
    shown = capsys.readouterr()
    assert set(codes) == {0, 2}
    assert len(list(tmp_path.glob("*.png"))) == codes.count(0)
    assert shown.out.count("head ") == codes.count(0)
    assert shown.err.count("cannot be used") == codes.count(2)


def test_show_takes_sources_that_are_never_learnt_from(
    public: Path, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    plain, _, source = (public / "detection.toml").read_text().partition("[[sources]]")
    source = source.partition("[[sources]]")[0]
    unseen = source.replace('name = "coco"', 'name = "coco-val"')
    config, target = tmp_path / "config.toml", str(tmp_path / "out.png")
    config.write_text(f"{plain}[[sources]]{source}[[validation]]{source}[[validation]]{unseen}")
    options = ("--root", str(public), "--save", target)
    for name, shown in (
        ("coco", "coco 0 -> "),
        ("validation: coco", "coco 0 -> "),
        ("coco-val", "coco-val 0 -> "),
        ("validation: coco-val", "coco-val 0 -> "),
    ):
        assert cli.main(["data", "show", str(config), "0", "--source", name, *options]) == 0
        assert capsys.readouterr().out.startswith(shown)
    assert cli.main(["data", "show", str(config), "0", "--source", "none", *options]) == 2
    assert "only coco, validation: coco, validation: coco-val." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stats", "recipes/scenes/configs/groma-mini/instruction.toml"], "[[sources]]"),
        (["show", "{}", "99999"], "N must be from 0"),
        (["show", "{}", "9", "--source", "coco"], "N must be from 0 to 3"),
        (["show", "{}", "0", "--source", "cocoa"], "no source 'cocoa'"),
        (["stats", "{}", "--limit", "-1"], "--limit"),
        (["stats", "nothing.toml"], "nothing.toml"),
    ],
)
def test_mistakes_take_one_sentence(
    public: Path, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    filled = [argument.format(public / "detection.toml") for argument in arguments]
    assert cli.main(["data", *filled]) == 2
    assert message in capsys.readouterr().err
