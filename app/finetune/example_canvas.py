"""The workbench for examples: the region canvas with a question and an answer to write below it."""

from pathlib import Path
from typing import Any

from gradio.data_classes import FileData, GradioModel
from pydantic import Field

from groma.config import NUM_REGION_TOKENS
from groma.data.sample import GroundedSample, Phrase, Pieces, join_pieces, plain_text

from ..canvas.region_canvas import Canvas, CanvasValue
from .own_examples import Draft

HERE = Path(__file__).parent
LONGEST = 4000
"""Characters of a question or an answer."""


class AnswerPiece(GradioModel):
    """Some words of an answer.

    Attributes:
        text: the words.
        boxes: numbers, from 1, of the boxes they mean; none for plain text.
    """

    text: str = Field(max_length=LONGEST)
    boxes: list[int] = Field(default_factory=list, max_length=NUM_REGION_TOKENS)


class EarlierTurn(GradioModel):
    """What was said before, to be read.

    Attributes:
        question: as typed.
        answer: without its boxes.
    """

    question: str
    answer: str


class ExampleValue(CanvasValue):
    """What a browser sends.

    Attributes:
        question: as typed; `[K]` is box K.
        answer: piece by piece.
        grounding: see `Draft`.
        earlier: what was said before; a browser can only leave it out.
    """

    question: str = Field("", max_length=LONGEST)
    answer: list[AnswerPiece] = Field(default_factory=list, max_length=LONGEST)
    grounding: bool = True
    earlier: list[EarlierTurn] = Field(default_factory=list)


class ExampleCanvas(Canvas):
    """A picture, boxes on it, a question, and an answer whose words mean boxes."""

    data_model = ExampleValue

    templates = (*Canvas.templates, HERE / "example_canvas.html")
    script = "finetune/example_canvas.js"

    def preprocess(self, payload: ExampleValue | None) -> Draft:  # ty: ignore[incompatible-method-override]
        """Read what the browser sent."""
        if payload is None:
            return Draft()
        drawing = super().preprocess(payload)
        answer = join_pieces(_piece(piece) for piece in payload.answer)
        return Draft(
            drawing.picture,
            drawing.boxes,
            payload.question,
            answer,
            payload.grounding,
            has_earlier=bool(payload.earlier),
        )

    def postprocess(self, value: Draft | None) -> ExampleValue:  # ty: ignore[incompatible-method-override]
        """What the browser gets."""
        value = value or Draft()
        return ExampleValue(
            image=FileData(path=str(value.picture)) if value.picture else None,
            regions=list(value.boxes),
            question=value.question,
            answer=_to_value(value.answer),
            grounding=value.grounding,
            earlier=_to_turns(value.earlier),
        )

    def example_payload(self) -> Any:
        """A value as the browser sends it."""
        return ExampleValue().model_dump()

    def example_value(self) -> Any:
        """A value as a handler gives it."""
        return Draft()

    def api_info(self) -> dict[str, Any]:
        """The value's JSON schema."""
        return ExampleValue.model_json_schema()


def _piece(piece: AnswerPiece) -> str | Phrase:
    regions = tuple(number - 1 for number in dict.fromkeys(piece.boxes))
    return Phrase(piece.text, regions) if regions and piece.text.strip() else piece.text


def _to_turns(earlier: GroundedSample | None) -> list[EarlierTurn]:
    if earlier is None:
        return []
    numbers = earlier.user_regions
    return [
        EarlierTurn(question=plain_text(turn.question, numbers), answer=plain_text(turn.answer))
        for turn in earlier.turns
    ]


def _to_value(answer: Pieces) -> list[AnswerPiece]:
    return [
        AnswerPiece(text=piece.text, boxes=[region + 1 for region in piece.regions])
        if isinstance(piece, Phrase)
        else AnswerPiece(text=plain_text((piece,)))
        for piece in answer
    ]
