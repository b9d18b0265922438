from pathlib import Path

import pytest

from groma.data.mixture import Mixture, SourceConfig, read_mixture
from groma.types import GromaError
from tests.groma.train import tiny_language

SOURCE = """
[[sources]]
name = "vg"
format = "visual-genome"
annotations = "regions.json"
images = "pictures"
image_data = "data.json"
"""


def read(folder: Path, text: str, root: Path | None = None) -> Mixture:
    path = folder / "config.toml"
    path.write_text(text)
    return read_mixture(path, root)


def test_a_whole_configuration(tmp_path: Path) -> None:
    settings = 'root = "r"\ncache = "c"\nseed = 3\nflip = 0.5\ncrop = 1\n'
    mixture = read(
        tmp_path,
        f"[mixture]\n{settings}{SOURCE}ratio = 0.2\nrounds = 'multi'\nturns = 7\n[stage]\nlr = 1.0",
    )
    root = tmp_path / "r"
    assert (mixture.seed, mixture.cache) == (3, root / "c")
    assert (mixture.augmentation.flip, mixture.augmentation.crop) == (0.5, 1.0)
    assert mixture.sources == (
        SourceConfig(
            "vg",
            "visual-genome",
            root / "regions.json",
            root / "pictures",
            0.2,
            {"image_data": root / "data.json", "rounds": "multi", "turns": 7},
        ),
    )


def test_paths_start_at_the_file_or_where_one_says(tmp_path: Path) -> None:
    assert read(tmp_path, SOURCE).sources[0].images == tmp_path / "pictures"
    assert read(tmp_path, SOURCE, Path("/data")).sources[0].images == Path("/data/pictures")
    absolute = SOURCE.replace('"pictures"', '"/elsewhere"')
    assert read(tmp_path, absolute).sources[0].images == Path("/elsewhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[[sources]]", "[[source]]"), "at least one"),
        (('name = "vg"\n', ""), "'name'"),
        (('images = "pictures"', ""), "source vg needs the setting 'images'"),
        (('images = "pictures"', "images = 3"), "must be text"),
        (('"visual-genome"', '"genome"'), "no format 'genome'"),
        (('image_data = "data.json"', ""), "needs the option 'image_data'"),
        (('image_data = "data.json"', "image_data = 3"), "image_data must be text"),
        (('image_data = "data.json"', 'imagedata = "x"'), "no option 'imagedata'"),
        (('"vg"', '"vg"\nrounds = "many"'), "single, multi"),
        (('"vg"', '"vg"\nturns = 0'), "whole number"),
        (('"vg"', '"vg"\nturns = true'), "whole number"),
        (('"vg"', '"vg"\nratio = 0'), "more than 0"),
        (('"vg"', '"vg"\nratio = -1'), "number from 0"),
        (('"vg"', '"vg"\nratio = nan'), "number from 0"),
        (("\n[[", "\n[mixture]\nseeds = 1\n[["), "no setting 'seeds'"),
        (("\n[[", "\n[mixture]\nflip = 1.5\n[["), "probabilities"),
        (("\n[[", "\nmixture = 1\n[["), "must be a table"),
        (("\n[[", "\nsources = [1]\n#"), "config"),
        (("[[sources]]", "[[sources"), "not valid TOML"),
        (("[[sources]]", "deep = " + "[" * 9000 + "\n[[sources]]"), "nested too deeply"),
        (("[[sources]]", SOURCE + "[[sources]]"), "same name"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in SOURCE
    with pytest.raises(GromaError, match=message) as caught:
        read(tmp_path, SOURCE.replace(*change, 1))
    assert "config.toml" in str(caught.value)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match="There is no file"):
        read_mixture(tmp_path / "nothing.toml")
    with pytest.raises(GromaError, match=r"Source vg: .*json"):
        read(tmp_path, SOURCE).prepare()
    (tmp_path / "empty.json").write_text("[]")
    empty = SourceConfig("none", "conversations", tmp_path / "empty.json", tmp_path)
    with pytest.raises(GromaError, match="no item"):
        Mixture((empty,)).prepare()


def test_detection_and_conversations_do_not_mix(detection: Mixture, conversations: Mixture) -> None:
    assert (detection.kind, conversations.kind) == ("detection", "conversation")
    with pytest.raises(GromaError, match=r"coco \(detection\)"):
        Mixture((*detection.sources[:1], *conversations.sources[:1])).prepare()
    with pytest.raises(GromaError, match="not for detection"):
        conversations.detection(64, 1)
    with pytest.raises(GromaError, match="not for conversation"):
        detection.conversations(tiny_language.template(), 64, 1)
