"""Figures that others have published, to stand beside ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from groma.types import GromaError

GROMA = "Groma, arXiv 2404.13013"
FERRET_V2 = "Ferret-v2, arXiv 2404.07973"
GLAMM = "GLaMM, arXiv 2311.03356"


@dataclass(frozen=True)
class Published:
    """What one model reaches on one set.

    Attributes:
        model: its name.
        source: paper that says so.
        figures: by the key of our figure, in percent.
    """

    model: str
    source: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class PublishedSet:
    """A set that figures are published of.

    Attributes:
        benchmark: that measures it.
        files: recognises `Benchmark.label`, in lower-case letters, digits and "+".
        results: of several models.
    """

    benchmark: str
    files: str
    results: tuple[Published, ...]


def _rec(name: str, groma: float, ferret: float | None = None) -> PublishedSet:
    """One split; Google's splits of the same data are others."""
    files = f"^{name}(?!ofrefsgoogle)"
    results = [Published("Groma-7B", GROMA, {"accuracy": groma})]
    if ferret is not None:
        results.append(Published("Ferret-v2-7B", FERRET_V2, {"accuracy": ferret}))
    return PublishedSet("rec", files, tuple(results))


def _captions(files: str, results: Mapping[str, tuple[float, float]]) -> PublishedSet:
    return PublishedSet(
        "region-caption",
        files,
        tuple(
            Published(model, GROMA, {"meteor": meteor, "cider": cider})
            for model, (meteor, cider) in results.items()
        ),
    )


SETS: Mapping[str, PublishedSet] = {
    "refcoco-val": _rec("refcocoval", 89.53, 92.79),
    "refcoco-testA": _rec("refcocotesta", 92.09, 94.68),
    "refcoco-testB": _rec("refcocotestb", 86.26, 88.69),
    "refcoco+-val": _rec(r"refcoco(\+|p|plus)val", 83.90),
    "refcoco+-testA": _rec(r"refcoco(\+|p|plus)testa", 88.91),
    "refcoco+-testB": _rec(r"refcoco(\+|p|plus)testb", 78.05),
    "refcocog-val": _rec("refcocogval", 86.37),
    "refcocog-test": _rec("refcocogtest", 87.01),
    "lvis-ground": PublishedSet(
        "lvis-ground",
        r"^lvis(test|ground)",
        (
            Published(
                "Groma-7B",
                GROMA,
                {
                    **{"ar": 28.8, "ar_50": 37.9, "ar_75": 30.3},
                    **{"ar_small": 8.7, "ar_medium": 35.6, "ar_large": 64.3},
                },
            ),
            Published("Ferret-7B", GROMA, {"ar": 16.8}),
        ),
    ),
    "refcocog-captions": _captions(
        r"^refcocogcap", {"Groma-7B": (16.8, 107.3), "GLaMM": (16.2, 106.0)}
    ),
    "vg-captions": _captions(
        r"^vg", {"Groma-7B": (19.0, 158.4), "GLaMM, finetuned": (19.7, 180.5)}
    ),
    "llava-bench-coco": PublishedSet(
        "chat-judge",
        r"^qa90",
        (
            Published(
                "Groma-7B",
                GROMA,
                {"all": 85.2, "kind_conv": 82.6, "kind_detail": 84.0, "kind_complex": 88.8},
            ),
            Published("Ferret-7B", GROMA, {"all": 86.7}),
        ),
    ),
    "coco-detection": PublishedSet(
        "detection",
        r"^(classagnostic|coco|instances)+val(2017|json)",
        (
            Published("Groma, DINOv2 448", GROMA, {"ap": 43.6}),
            Published("Groma, CLIP 336", GROMA, {"ap": 32.4}),
        ),
    ),
    "gcg-val": PublishedSet(
        "gcg",
        r"^valgcg",
        (
            Published(
                "GLaMM",
                GLAMM,
                {"meteor": 16.2, "cider": 47.2, "ap_50": 30.8, "miou": 66.3, "recall": 41.8},
            ),
        ),
    ),
}
"""By name; where other models' figures come from the Groma paper, that is their source."""

NONE = "none"

REC_MEAN = (
    Published("Groma-7B", GROMA, {"mean": 86.52}),
    Published("Qwen-VL", GROMA, {"mean": 85.83}),
    Published("Ferret-7B", GROMA, {"mean": 83.91}),
)
"""Mean accuracy over all eight sets of REC."""


def find_set(benchmark: str, label: str, name: str | None) -> str | None:
    """Which set our figures are of, a key of `SETS`; None where it is none of them.

    Args:
        benchmark: that is measured.
        label: what results call the questions.
        name: of a set; `NONE` for none; None recognises the label.

    Raises:
        GromaError: if the benchmark has no such set.
    """
    if name == NONE:
        return None
    sets = {key: each for key, each in SETS.items() if each.benchmark == benchmark}
    if name is None:
        plain = re.sub(r"[^a-z0-9+]", "", label.lower())
        return next((key for key, each in sets.items() if re.match(each.files, plain)), None)
    if name not in sets:
        raise GromaError(
            f"No figures of {benchmark} on {name!r} are known; take {', '.join(sets)} or {NONE}."
        )
    return name
