"""What was found, as COCO annotations."""

import contextlib
import io
import json
from pathlib import Path

from pycocotools.coco import COCO

from groma.data.found_things import FoundIn, FoundThing, to_coco


def test_a_category_is_a_noun_in_one_spelling(tmp_path: Path) -> None:
    pictures = [
        FoundIn(
            "a.png",
            (40, 60),
            [
                FoundThing("a brown dog", (1.0, 2.0, 11.0, 22.0), 0.9),
                FoundThing("Two dogs on a sofa", (30.0, 2.0, 40.0, 22.0), 0.5),
                FoundThing("", (0.0, 0.0, 5.0, 5.0), 0.4),
            ],
            "Two dogs.",
        ),
        FoundIn("none.png", (10, 10), []),
        FoundIn("deep/b.png", (40, 60), [FoundThing("the dog's collar", (0, 0, 9, 9), 0.3)]),
    ]
    file = tmp_path / "coco.json"
    file.write_text(json.dumps(to_coco(pictures, "Ours")))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
    names = {number: each["name"] for number, each in coco.cats.items()}
    found = [(a["image_id"], names[a["category_id"]], a["phrase"]) for a in coco.anns.values()]
    assert found == [
        (1, "dog", "a brown dog"),
        (1, "dog", "Two dogs on a sofa"),
        (1, "region", ""),
        (3, "collar", "the dog's collar"),
    ]
    assert coco.anns[1]["bbox"] == [1, 2, 10, 20]
    assert coco.anns[1]["area"] == 200
    assert [each["file_name"] for each in coco.imgs.values()] == ["a.png", "none.png", "deep/b.png"]
    assert coco.imgs[1]["caption"] == "Two dogs."
