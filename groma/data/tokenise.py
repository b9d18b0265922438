"""Samples as token ids and labels: only what the model says is learnt (paper 3.2, 3.3)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from groma.data.sample import GroundedSample, Phrase, plain_text, regions_of
from groma.text.template import Exchange, Template
from groma.tokens import GROUND_BOX, REFER_BOX
from groma.types import IGNORED


@dataclass(frozen=True)
class Written:
    """A conversation in tokens, with placeholders for what depends on the proposals."""

    # (T,) with one `<image>`, one `<region>`, and a `<refer_box>` or `<ground_box>` wherever a
    # region is named.
    ids: Tensor
    labels: Tensor  # (T,) the id where it is supervised, -100 elsewhere
    refer: Tensor  # (K,) for each `<refer_box>`, the index of its box in the sample
    ground: Tensor  # (G,) for each `<ground_box>`, the index of its box in the sample


def write(sample: GroundedSample, template: Template, limit: int) -> Written:
    """Spell a conversation, as many whole turns as fit; the first turn stays in any case.

    `limit` is the most tokens, placeholders unexpanded.
    """
    tokens = template.tokens
    exchanges = [_exchange(sample, turn, template) for turn in range(len(sample.turns))]
    ids, labels = (torch.tensor(row) for row in template.training_example(exchanges))
    ends = (labels == template.plain.eos).nonzero().flatten() + 1
    fitting = ends[ends <= limit]
    end = int(fitting[-1] if len(fitting) else ends[0])
    ids, labels = ids[:end], labels[:end]
    mentioned = [index for turn in sample.turns for index in regions_of(turn.question)]
    grounded = [index for turn in sample.turns for index in regions_of(turn.answer)]
    return Written(
        ids,
        labels,
        torch.tensor(mentioned[: int((ids == tokens[REFER_BOX]).sum())], dtype=torch.long),
        torch.tensor(grounded[: int((ids == tokens[GROUND_BOX]).sum())], dtype=torch.long),
    )


def answers(labels: Tensor) -> Tensor:
    """Number the answers of conversations.

    `labels`, (..., T), are -100 where nothing is supervised. Returns (..., T) 0, 1, … on the tokens
    of the first, second, … answer, -1 elsewhere.
    """
    supervised = labels != IGNORED
    before = torch.zeros_like(supervised)
    before[..., 1:] = supervised[..., :-1]
    number = (supervised & ~before).cumsum(dim=-1) - 1
    return torch.where(supervised, number, -1)


def _exchange(sample: GroundedSample, turn: int, template: Template) -> Exchange:
    qa, users = sample.turns[turn], sample.user_regions
    names = [template.tokens[REFER_BOX]] * len(users)
    question = template.question(plain_text(qa.question, users), names, grounding=qa.grounding)
    spans, at = [], 0
    for piece in qa.answer:
        length = len(plain_text((piece,)))
        if isinstance(piece, Phrase):
            spans.append((at, at + length, [template.tokens[GROUND_BOX]] * len(piece.regions)))
        at += length
    return question, template.answer(plain_text(qa.answer), spans)
