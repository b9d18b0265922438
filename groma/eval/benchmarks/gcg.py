"""Grounded conversation generation: describe the picture, and show what is meant (GLaMM).

METEOR and CIDEr of the description; AP50 of what is shown, without classes; mIoU of what is shown
and what is there, paired from the best on; recall of the pairs that overlap by a half and whose
phrases mean alike. On masks, as published, or on boxes, which is what Groma shows by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of, to_xywh
from groma.eval.benchmarks.region_caption import one_line
from groma.eval.harness.asker import Asker, phrasing
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    read_boxes,
    read_text,
    rescale,
)
from groma.eval.statistics.caption_scores import check_java, measure_captions
from groma.eval.statistics.detection_scores import Ranking, Shape, ShapeField, match_shapes
from groma.eval.statistics.intervals import Figure, Floats, Measure, mean, ratio, sums
from groma.foreign import load_json
from groma.run_journal import Fields
from groma.shapes import Mask
from groma.types import GromaError, Size

_Overlap = Literal["boxes", "masks"]
_Similarity = Callable[[Sequence[str], Sequence[str]], Floats]
"""Makes (A, B) similarities of A and B phrases."""

_IOU = 0.5  # least overlap of a pair that counts for recall
_SIMILARITY = 0.5  # least similarity of its phrases
_FIELDS: Mapping[_Overlap, ShapeField] = {"boxes": "bbox", "masks": "segmentation"}


@dataclass(frozen=True)
class _Description(Case):
    """A picture, what was said about it, and what that means."""

    id: Any  # what the files call the picture
    captions: tuple[str, ...]  # at least one
    phrases: tuple[str, ...]  # of the first caption, one per annotation
    truth: tuple[Entry, ...]  # COCO annotations with `bbox` and `segmentation` as run lengths
    size: Size  # (H, W) of the picture


class GroundedGeneration(Benchmark[_Description]):
    """Grounded descriptions: `val_gcg_coco_caption_gt.json` and `val_gcg_coco_mask_gt.json`.

    `similarity` compares phrases; None leaves recall out. Raises `GromaError` if a file is
    something else.
    """

    name = "gcg"
    max_new_tokens = 512

    def __init__(
        self, annotations: Path, masks: Path, overlap: _Overlap, similarity: _Similarity | None
    ) -> None:
        with reading(annotations):
            captions = CocoFile.read(annotations)
        with reading(masks):
            cases = list(_read(captions, CocoFile.read(masks)))
        super().__init__([annotations, masks], cases)
        self._overlap: _Overlap = overlap
        self._similarity = similarity

    def answer(self, asker: Asker, case: _Description, number: int) -> Fields:
        """The description, and for every region named its phrase and box, and mask if there is."""
        reply = asker.ask(phrasing("grounded_caption", number), grounding=True)
        shown = [(reply.phrase(span), ref) for span in reply.spans for ref in span.regions]
        answer = {
            "caption": one_line(reply.text),
            "phrases": [phrase for phrase, _ in shown],
            "boxes": rescale((ref.box for _, ref in shown), reply.image_size, case.size),
        }
        if asker.protocol.mask_maker is None:
            return answer
        masks = [_resize(ref.mask, case.size) for _, ref in shown if ref.mask]
        return answer | {"masks": [mask.to_run_lengths() for mask in masks]}

    def measure(self, cases: Sequence[_Description], answers: Answers) -> Score:
        """All five figures, as far as their tools are here."""
        shown = [
            _read_shapes(answers[case.key], case.key, self._overlap) if case.key in answers else []
            for case in cases
        ]
        score = Score([])
        answered = [case for case in cases if case.key in answers]
        try:
            check_java()
            said = {c.key: read_text(answers[c.key], "caption", c.key) for c in answered}
            score.measures += measure_captions({c.key: c.captions for c in answered}, said)
        except GromaError as error:
            score.notes.append(str(error))
        field = _FIELDS[self._overlap]
        overlaps = [_overlaps(each, c.truth, field) for each, c in zip(shown, cases, strict=True)]
        miou = Figure("miou", "mIoU", len(cases))
        score.measures += [
            _measure_precision(cases, shown, field),
            mean(miou, np.array([_pair_up(each) for each in overlaps])),
        ]
        try:
            phrases = [list(answers.get(case.key, {}).get("phrases", [])) for case in cases]
            score.measures.append(self._measure_recall(cases, overlaps, phrases))
        except _MissingEncoderError as error:
            score.notes.append(f"Recall is left out: {error}")
        score.notes.append(f"Overlaps are those of {self._overlap}.")
        return score

    def _measure_recall(
        self,
        cases: Sequence[_Description],
        overlaps: Sequence[Floats],
        phrases: Sequence[Sequence[str]],
    ) -> Measure:
        """Share of true phrases that a pair has; `overlaps` are (F, T) of found and true shapes."""
        if self._similarity is None:
            raise _MissingEncoderError("it needs a text encoder.")
        counts = np.zeros((len(cases), 2))
        for row, case, each, said in zip(counts, cases, overlaps, phrases, strict=True):
            alike = np.zeros((len(case.phrases), len(said)))
            if alike.size:
                alike = self._similarity(case.phrases, said)
            row[:] = _count_pairs(each.T, alike), len(case.phrases)
        figure = Figure("recall", "recall", int(counts[:, 1].sum()))
        return sums((figure,), counts, lambda x: ratio(x)[..., None])


def _measure_precision(
    cases: Sequence[_Description], shown: Sequence[Sequence[Shape]], field: ShapeField
) -> Measure:
    """AP50 of everything shown, each with the score 1."""
    found = [[(shape, 1.0) for shape in each] for each in shown]
    # Among equal scores the order of ids decides, as in pycocotools.
    order = sorted(range(len(cases)), key=lambda unit: cases[unit].id)
    ranking = Ranking.of(match_shapes(found, [c.truth for c in cases], field)["all"], order)
    return Measure(
        (Figure("ap_50", "AP50", int(ranking.wanted.sum())),),
        len(cases),
        lambda weights: np.array([[ranking.precision(row)[0]] for row in weights]),
        draws=200,
    )


def _pair_up(overlaps: Floats) -> float:
    """Mean of (F, T) overlaps of pairs, the best pair first; 0 where nothing overlaps."""
    overlaps, pairs = overlaps.copy(), []
    while overlaps.size and overlaps.max() > 0:
        found, true = np.unravel_index(np.argmax(overlaps), overlaps.shape)
        pairs.append(overlaps[found, true])
        overlaps = np.delete(np.delete(overlaps, found, axis=0), true, axis=1)
    return float(np.mean(pairs)) if pairs else 0.0


def _count_pairs(overlaps: Floats, alike: Floats) -> int:
    """How many pairs overlap and have phrases alike, the best overlap first.

    As in GLaMM's own evaluation, the first pair that fails ends the search; 0 pairs count where a
    phrase is missing. `overlaps` are (T, F) of true and found shapes, `alike` (T', F') of their
    phrases.
    """
    overlaps, pairs = overlaps.copy(), 0
    while overlaps.size:
        true, found = np.unravel_index(np.argmax(overlaps), overlaps.shape)
        if true >= alike.shape[0] or found >= alike.shape[1]:
            return 0
        if overlaps[true, found] < _IOU or alike[true, found] < _SIMILARITY:
            break
        pairs += 1
        overlaps[true, :] = overlaps[:, found] = 0
    return pairs


def _resize(mask: Mask, size: Size) -> Mask:
    """A mask at the size (H, W) that the annotations have: every pixel at least half covered."""
    if mask.size == size:
        return mask
    levels = Image.fromarray(mask.mask(mask.size)).convert("L")
    shares = np.asarray(levels.resize(size[::-1], Image.Resampling.BOX))
    return Mask.of(shares >= min(128, shares.max()))


def _overlaps(shapes: Sequence[Shape], truth: Sequence[Entry], field: ShapeField) -> Floats:
    """(F, T) intersection over union."""
    if not (shapes and truth):
        return np.zeros((len(shapes), len(truth)))
    return coco_mask.iou(list(shapes), [a[field] for a in truth], [0] * len(truth))


def _read_shapes(answer: Fields, key: str, overlap: _Overlap) -> list[Shape]:
    """The boxes xywh or masks of an answer; masks are as good as their boxes, not the reverse.

    Raises `GromaError`, naming the case, if there are none of that kind.
    """
    if overlap == "masks" and "masks" not in answer:
        raise GromaError(
            f"The answer to case {key} has no masks; say --mask-maker, or --overlap boxes."
        )
    if overlap == "boxes" and "boxes" in answer:
        return [to_xywh(box) for box in read_boxes(answer, key)]
    masks = [_to_run_lengths(mask, (0, 0)) for mask in answer["masks"]]
    return masks if overlap == "masks" else [coco_mask.toBbox(mask).tolist() for mask in masks]


def read_folder(folder: Path) -> Answers:
    """Answers of another model, as GLaMM's inference writes them: one JSON file per picture.

    Raises `GromaError` if a file is something else, or there is none.
    """
    answers = {}
    for path in sorted(folder.glob("*.json")):
        with reading(path):
            data = load_json(path.read_bytes())
            # Some releases put everything below the picture's name.
            data = data if "caption" in data else next(iter(data.values()))
            answers[path.stem] = {
                "caption": data["caption"],
                "phrases": list(data["phrases"]),
                "masks": list(data["pred_masks"]),
            }
    if not answers:
        raise GromaError(f"{folder} holds no answers.")
    return answers


def _to_run_lengths(segmentation: Any, size: Size) -> Mapping[str, Any]:
    """Run lengths, or polygons on a picture of size (H, W), as compressed run lengths."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, *segmentation["size"])
    return segmentation


class _MissingEncoderError(GromaError):
    """A text encoder is not here."""


class TextEncoder:
    """Compares phrases by the mean of a text encoder's last hidden states.

    `source` is a folder or Hugging Face id such as `bert-base-uncased`, which the published figures
    rest on; it is loaded when the first phrases are compared.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: dict[str, Floats] = {}

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModel, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self._source)
            return tokenizer, AutoModel.from_pretrained(self._source).eval()
        except (OSError, ValueError) as error:
            raise _MissingEncoderError(
                f"the text encoder {self._source} cannot be loaded; name a folder that holds it "
                "with --text-encoder."
            ) from error

    def __call__(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        """(A, B) cosine similarities; raises `GromaError` if the encoder cannot be loaded."""
        a, b = (np.stack([self._encode(text) for text in texts]) for texts in (first, second))
        return a @ b.T

    def _encode(self, text: str) -> Floats:
        """The direction of a text, a vector of length 1."""
        if text not in self._known:
            import torch

            tokenizer, model = self._loaded
            inputs = tokenizer(text, return_tensors="pt", max_length=512, truncation=True)
            with torch.inference_mode():
                state = model(**inputs).last_hidden_state[0].mean(dim=0)
            self._known[text] = (state / state.norm()).double().numpy()
        return self._known[text]


def _read(captions: CocoFile, masks: CocoFile) -> Iterator[_Description]:
    """A case for every picture that has captions; its key is its id."""
    sizes = {image["id"]: image for image in (*captions.images, *masks.images) if "height" in image}
    for image in captions.images:
        number, said = image["id"], captions.annotations.get(image["id"], ())
        if not said:
            continue
        size = size_of(sizes[number])
        truth = tuple(_with_shapes(a, size) for a in masks.annotations.get(number, ()))
        picture = image.get("file_name") or f"{number}.jpg"
        texts = tuple(str(annotation["caption"]) for annotation in said)
        phrases = tuple(said[0]["labels"])
        yield _Description(str(number), picture, number, texts, phrases, truth, size)


def _with_shapes(annotation: Entry, size: Size) -> Entry:
    """An annotation that has both shapes."""
    mask = _to_run_lengths(annotation["segmentation"], size)
    box = annotation.get("bbox") or coco_mask.toBbox(mask).tolist()
    area = annotation.get("area", float(coco_mask.area(mask)))
    return {**annotation, "segmentation": mask, "bbox": box, "area": area}
