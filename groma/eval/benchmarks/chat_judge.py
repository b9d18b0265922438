"""LLaVA-Bench (COCO): how good an answer is, as another model judges it (paper 5.3).

The judge sees captions and boxes instead of the picture, the question, a reference answer and the
model's answer, and gives both 1 to 10 points. The figure is the model's points over those of the
reference, by kind of question and for all.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from groma.endpoint import EndpointError, UnusableEndpointError
from groma.eval.benchmarks.coco_file import reading
from groma.eval.harness.asker import Asker
from groma.eval.harness.benchmark import Answers, Benchmark, Case, Score, read_text
from groma.eval.statistics.intervals import Figure, ratio, sums
from groma.foreign import decode_text, load_json, split_lines
from groma.run_journal import Fields, RunJournal
from groma.types import GromaError

JUDGE_SETTINGS = {"temperature": 0.2, "max_tokens": 1024}  # how the judge answers

_INSTRUCTION = "You compare answers to questions about pictures, carefully and without favour."
_RULES: Mapping[str, Mapping[str, str]] = {
    "default": {
        "role": "Assistant",
        "prompt": (
            "Two assistants answered the question above. They saw the picture; you have a "
            "description of it instead: captions, and the boxes of its objects. Judge how helpful, "
            "relevant, correct and detailed each answer is, and give each a score from 1 to 10, "
            "where more is better. The first line of your reply must hold the two scores and "
            "nothing else: that of assistant 1, a space, that of assistant 2. Then give your "
            "reasons. The order of the answers must not matter."
        ),
    }
}
"""What the judge is told, by kind of question. The figures of the paper were made with LLaVA's
`rule.json`, which `--rules` reads."""

_logger = logging.getLogger(__name__)


Judge = Callable[[Sequence[dict[str, Any]]], str]
"""A chat model's answer to a conversation, such as `ChatEndpoint.complete`."""


@dataclass(frozen=True)
class _Question(Case):
    """A question about a picture."""

    kind: str  # its category
    text: str  # the question
    reference: str  # the answer to compare with
    context: str  # what the judge knows of the picture


class ChatJudge(Benchmark[_Question]):
    """Judged conversation.

    `questions`, `references` and `context` are JSON lines: `question_id`, `image`, `category` and
    `text`; `question_id` and `text`; `image`, `captions` and `instances`. `rules` is JSON with
    `role` and `prompt` by category, None is our own; `judge` its name; `connect` gives the judge,
    with a folder for its answers, None uses judgements that are there. Raises `GromaError` if a
    file is something else, or parts of a question are missing.
    """

    name = "chat-judge"
    max_new_tokens = 1024
    without_answer = None

    def __init__(
        self,
        questions: Path,
        references: Path,
        context: Path,
        rules: Path | None,
        judge: str,
        connect: Callable[[Path], Judge] | None,
    ) -> None:
        cases = list(_read(questions, references, context))
        super().__init__([questions, references, context], cases)
        with reading(rules or questions):
            told = load_json(rules.read_bytes()) if rules else _RULES
            self._prompts = {case.key: _rule(told, case.kind) for case in cases}
        self._judge, self._connect = judge, connect

    def answer(self, asker: Asker, case: _Question, number: int) -> Fields:  # noqa: ARG002
        """What the model says."""
        return {"text": asker.ask(case.text, grounding=asker.protocol.grounding).text}

    def complete(
        self, cases: Sequence[_Question], answers: Answers, header: Fields, path: Path | None
    ) -> Answers:
        """Have the judge read what it has not read yet; judgements are kept beside the answers.

        Raises `GromaError` if answers were not saved, or the judge is needed and cannot be asked.
        """
        if path is None:
            raise GromaError("Judgements are kept beside the answers; say --save FILE.")
        folder = path.with_name(f"{path.stem}.{_file_name(self._judge)}")
        digest = hashlib.sha256(json.dumps(self._prompts, sort_keys=True).encode()).hexdigest()[:16]
        told = {"judge": self._judge, "rules": digest, "answers": dict(header)}
        file = RunJournal.resume(folder.with_name(f"{folder.name}.jsonl"), told)
        known = {line["key"]: line["judgement"] for line in file.entries}
        left = [case for case in cases if case.key in answers and case.key not in known]
        judge = self._connect(folder) if self._connect and left else None
        if judge is None and left:
            raise GromaError(
                f"{len(left)} answers are not judged yet; name a judge with --judge-url and "
                "--judge-model."
            )
        if judge is not None:
            for case in tqdm(left, "judgements", len(left) + len(known), initial=len(known)):
                judgement = self._ask(judge, case, answers[case.key])
                if judgement is not None:
                    known[case.key] = judgement
                    file.append({"key": case.key, "judgement": judgement})
        return {key: {**answer, "judgement": known.get(key)} for key, answer in answers.items()}

    def measure(self, cases: Sequence[_Question], answers: Answers) -> Score:
        """Points over those of the reference."""
        points = {
            case.key: _read_points(judgement)
            for case in cases
            if (judgement := answers.get(case.key, {}).get("judgement")) is not None
        }
        kinds = list(dict.fromkeys(case.kind for case in cases))
        counts = np.zeros((len(cases), 1 + len(kinds), 2))
        for row, case in zip(counts, cases, strict=True):
            if pair := points.get(case.key):
                row[0] = row[1 + kinds.index(case.kind)] = pair[1], pair[0]
        number = np.count_nonzero(counts[..., 1], axis=0)
        names = [("all", "all"), *((f"kind_{kind}", kind) for kind in kinds)]
        figures = tuple(
            Figure(k, label, int(n)) for (k, label), n in zip(names, number, strict=True)
        )
        unread = [
            (len(cases) - len(points), "have no judgement"),
            (sum(pair is None for pair in points.values()), "have one without two scores"),
        ]
        notes = [f"{n:,} of {len(cases):,} answers {what}." for n, what in unread if n]
        flat = counts.reshape(len(cases), -1)
        return Score(
            [sums(figures, flat, lambda x: ratio(x.reshape(*x.shape[:-1], -1, 2)))],
            [f"Judged by {self._judge}.", *notes],
        )

    def _ask(self, judge: Judge, case: _Question, answer: Fields) -> str | None:
        """One judgement, or None if this one cannot be had."""
        text = read_text(answer, "text", case.key)
        try:
            return judge(_judge_messages(case, text, self._prompts[case.key]))
        except UnusableEndpointError:
            raise
        except EndpointError as error:
            _logger.warning("Question %s is not judged: %s", case.key, error)
            return None


def _judge_messages(case: _Question, answer: str, rule: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the judge reads; the reference is the first answer. `rule` has `role` and `prompt`."""
    role = rule["role"]
    parts = [
        f"[Context]\n{case.context}",
        f"[Question]\n{case.text}",
        f"[{role} 1]\n{case.reference}",
        f"[End of {role} 1]",
        f"[{role} 2]\n{answer}",
        f"[End of {role} 2]",
        f"[System]\n{rule['prompt']}",
    ]
    return [
        {"role": "system", "content": _INSTRUCTION},
        {"role": "user", "content": "\n\n".join(parts) + "\n\n"},
    ]


def _read_points(judgement: str) -> tuple[float, float] | None:
    """The two scores that a judgement begins with; None where it does not."""
    first = judgement.split("\n", 1)[0].replace(",", " ").split()
    try:
        reference, answer = map(float, first)
    except ValueError:
        return None
    return (reference, answer) if reference > 0 and answer >= 0 else None


def _rule(rules: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    """What is told about a kind of question."""
    rule = rules[kind] if kind in rules else rules["default"]
    return {"role": str(rule["role"]), "prompt": str(rule["prompt"])}


def _read(questions: Path, references: Path, context: Path) -> Iterator[_Question]:
    """Every question with its reference answer and what is known of its picture."""
    with reading(references):
        texts = {line["question_id"]: str(line["text"]) for line in _lines(references)}
    with reading(context):
        known = {line["image"]: _describe(line) for line in _lines(context)}
    with reading(questions):
        for line in _lines(questions):
            number, picture = line["question_id"], line["image"]
            if number not in texts:
                raise GromaError(f"{references} has no answer to question {number}.")
            if picture not in known:
                raise GromaError(f"{context} says nothing about {picture}.")
            yield _Question(
                str(number),
                picture,
                str(line["category"]),
                str(line["text"]),
                texts[number],
                known[picture],
            )


def _describe(line: Mapping[str, Any]) -> str:
    """Captions and boxes of a picture as text."""
    boxes = [f"{instance['category']}: {instance['bbox']}" for instance in line["instances"]]
    return "\n".join(line["captions"]) + "\n\n" + "\n".join(boxes)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    yield from map(load_json, split_lines(decode_text(path.read_bytes())))


def _file_name(name: str) -> str:
    """A model's name as part of a file's."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
