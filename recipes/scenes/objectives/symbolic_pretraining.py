"""Language pretraining on scenes without pictures: pointing is learnt before seeing.

The paper's language model, Vicuna-7B, learns to point from pictures alone; one of 135 M parameters
needs many more examples, which annotations give without an image encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.config import NUM_REGION_TOKENS
from groma.data.batches import pad_conversations
from groma.data.sample import GroundedSample
from groma.data.tokenise import write
from groma.dice import Dice
from groma.model.region_code import RegionCode
from groma.model.splice import expand_with_labels, name_boxes, splice
from groma.model.training_forward import next_token_loss
from groma.text.template import Template
from groma.tokens import GROUND_BOX, PAD, REFER_BOX, TokenIds
from groma.types import IGNORED
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.nouns import COLOURS, NOUNS, SIZES, STUFF
from recipes.scenes.objectives.language_metrics import ALL_KINDS, count_answers, kind_indices
from recipes.scenes.objectives.looking import Looking
from recipes.scenes.scene import Scene
from recipes.scenes.symbols import SymbolicRegions, symbolic_regions

WORDS = (*NOUNS, *STUFF)
"""What a region can be called: things, then stuff."""
TURNS = 12
"""Most turns of a conversation; those that do not fit its tokens are cut off."""
_PLACE_SHARE = 1.4
"""Length of the part of a region token that tells where it lies, in words."""
_FEW = 3
_GAPS, _LONGEST_GAP = 4, 400
_SCATTERED_SHARE = 0.25
"""Share of scenes whose regions have names with gaps, up to `<r99>`."""


class SymbolicRegionEncoder(RegionCode):
    """Region tokens from annotations instead of pictures; what region tokens regress to.

    The code of illustrated scenes: `names` (N, 169) are weights over nouns and stuff, `colours`
    (N, 10), `sizes` (N, 3).
    """

    names: nn.Linear
    colours: nn.Linear
    sizes: nn.Linear

    def __init__(self, width: int) -> None:
        super().__init__(width, names=len(WORDS), colours=len(COLOURS), sizes=len(SIZES))

    def speak(self, table: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        """Take words; see `speak`."""
        speak(self, {"names": WORDS, "colours": COLOURS, "sizes": SIZES}, table, tokenizer)


def speak(
    code: RegionCode,
    words: Mapping[str, Sequence[str]],
    table: Tensor,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Let a code say things in words: a noun's direction is the mean of the tokens that spell it.

    Args:
        code: changed in place.
        words: part of the code -> a word for each of its directions.
        table: (V, D) word embeddings.
        tokenizer: of these words.
    """
    table = table.detach()
    for part, spoken in words.items():
        spelt = [tokenizer.encode(f" {word}", add_special_tokens=False) for word in spoken]
        rows = torch.stack([table[ids].mean(dim=0) for ids in spelt])
        code.get_submodule(part).get_parameter("weight").copy_(rows.mT)
    scale = _PLACE_SHARE * table.norm(dim=1).mean()
    code.position.weight.copy_(scale * F.normalize(code.position.weight, dim=0))


@dataclass(frozen=True)
class Symbolism:
    """What one kind of scenes without pictures is told by, and how one talks about it.

    Attributes:
        stream: of the dice.
        is_easy: whether a scene holds few things.
        talk: (scene, dice, least and most turns) -> conversation.
        regions: (scene, dice, conversation) -> regions, with `boxes` (N, 4), `source` (N,) and the
            parts of their code.
        names: (N, (K,) rows of the user's regions, dice) -> (N,) numbers of region names.
        parts: of the code.
        kinds: of questions.
    """

    stream: int
    is_easy: Callable[[Scene], bool]
    talk: Callable[[Scene, Dice, tuple[int, int]], GroundedSample]
    regions: Callable[[Scene, Dice, GroundedSample], Any]
    names: Callable[[int, Tensor, Dice], Tensor]
    parts: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class SymbolicConversations(Dataset):
    """Conversations about scenes without pictures; the same index is always the same sample.

    Attributes:
        symbolism: what kind of scenes they are about.
        scenes: where they come from, by index, with their `split` and `seed`.
        template: of the language model.
        length: how many conversations count as one pass.
        limit: most tokens before the regions are listed.
        easy: how many conversations at the beginning are about few things.
    """

    symbolism: Symbolism
    scenes: Any
    template: Template
    length: int
    limit: int = 384
    easy: int = 0

    def __len__(self) -> int:
        """Conversations of one pass."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One conversation.

        Returns:
            `ids` and `labels` (T,), image tokens left out; `regions`, the N regions in the order
            of their names: `boxes` (N, 4) and the parts of their code; `referred` (K,) rows of the
            regions that the user points at; `kinds` (turns,) of the questions.
        """
        scenes, how = self.scenes, self.symbolism
        scene = scenes[index]
        if index < self.easy:
            while not how.is_easy(scene):
                index += self.easy
                scene = scenes[index]
        dice = Dice.of(scenes.split, scenes.seed, index, stream=how.stream)
        sample = how.talk(scene, language_dice(scenes.split, scenes.seed, index), (TURNS, TURNS))
        regions = how.regions(scene, dice, sample)
        written = write(sample, self.template, self.limit)
        rows = torch.from_numpy(regions.source).argsort(stable=True)[(regions.source < 0).sum() :]
        referred, tokens = rows[written.refer], self.template.tokens
        names = how.names(len(regions), referred, dice)
        ids = name_boxes(written.ids, REFER_BOX, names[referred], tokens)
        named = name_boxes(ids, GROUND_BOX, names[rows[written.ground]], tokens)
        labels = torch.where(written.labels == ids, named, written.labels)
        ids, labels = expand_with_labels(named, labels, names, tokens, num_image_tokens=0)
        return {
            "regions": {p: torch.from_numpy(getattr(regions, p)) for p in ("boxes", *how.parts)},
            "ids": ids,
            "labels": labels,
            "referred": referred,
            "kinds": kind_indices([turn.kind for turn in sample.turns], how.kinds),
        }


def draw_names(count: int, referred: Tensor, dice: Dice) -> Tensor:  # noqa: ARG001
    """(N,) numbers of region names in ascending order: 0 to N - 1, now and then with gaps."""
    if dice.maybe(1 - _SCATTERED_SHARE):
        return torch.arange(count)
    return torch.tensor(sorted(dice.sample(range(NUM_REGION_TOKENS), count)))


def _is_easy(scene: Scene) -> bool:
    return len(scene.things) <= _FEW


def _regions(scene: Scene, dice: Dice, sample: GroundedSample) -> SymbolicRegions:  # noqa: ARG001
    return symbolic_regions(scene, dice)


ILLUSTRATED = Symbolism(
    stream=3,
    is_easy=_is_easy,
    talk=converse,
    regions=_regions,
    names=draw_names,
    parts=("names", "colours", "sizes"),
    kinds=ALL_KINDS,
)
"""Illustrated scenes."""


@dataclass(frozen=True)
class SymbolicCollator:
    """Stacks samples of `SymbolicConversations`; the regions of all follow one another."""

    tokens: TokenIds

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict:
        """A batch as `SymbolicPretraining` takes it, and `kinds` for the evaluation."""
        regions = [sample["regions"] for sample in samples]
        starts = torch.tensor([0] + [len(each["boxes"]) for each in regions]).cumsum(dim=0)
        referred = [s["referred"] + start for s, start in zip(samples, starts, strict=False)]
        return {
            **pad_conversations(
                [s["ids"] for s in samples], [s["labels"] for s in samples], self.tokens
            ),
            **{part: torch.cat([each[part] for each in regions]) for part in regions[0]},
            "referred": torch.cat(referred),
            "kinds": [sample["kinds"] for sample in samples],
        }


class SymbolicPretraining(nn.Module):
    """A language model that reads symbolic region tokens, with its loss."""

    main_input_name = "input_ids"

    def __init__(
        self,
        language_model: LlamaForCausalLM,
        regions: RegionCode,
        tokens: TokenIds,
        looking: Looking | None = None,
        weight: float = 0.0,
    ) -> None:
        """The language model is trained in place.

        Args:
            language_model: new tokens included.
            regions: as wide as the language model.
            tokens: ids of the new tokens.
            looking: teaches heads where to look, which takes eager attention; None if the model
                finds out by itself.
            weight: of `looking`.
        """
        super().__init__()
        self.language_model = language_model
        self.regions = regions
        self.tokens = tokens
        self.looking = looking
        self.weight = weight

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor,
        boxes: Tensor,
        referred: Tensor,
        kinds: Sequence[Tensor] = (),  # noqa: ARG002
        **weights: Tensor,
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            input_ids: (B, T), expanded, padded on the right.
            labels: (B, T).
            boxes: (N, 4) of the regions of all rows, one after the other.
            referred: (K,) which of them `<refer_feat>` stands for, in order.
            kinds: of the questions; not used.
            weights: the parts of their code.

        Returns:
            `loss`, and `logits` (B, T, V) outside of training.
        """
        tokens = self.regions(boxes, **weights)
        words = self.language_model.get_input_embeddings()(input_ids)
        spliced = splice(
            words.flatten(0, 1),
            input_ids.flatten(),
            self.tokens,
            tokens[:0],
            tokens,
            tokens[referred],
        )
        output = self.language_model.model(
            inputs_embeds=spliced.view_as(words),
            attention_mask=(input_ids != self.tokens[PAD]).long(),
            position_ids=stretch(input_ids) if self.training else None,
            use_cache=False,
            output_attentions=self.looking is not None and self.training,
        )
        hidden, head = output.last_hidden_state, self.language_model.lm_head
        if not self.training:
            logits = head(hidden)
            return {"loss": next_token_loss(logits, labels), "logits": logits}
        # Most tokens are questions and regions: the vocabulary is only compared where it counts.
        said = labels[:, 1:] != IGNORED
        language = F.cross_entropy(head(hidden[:, :-1][said]).float(), labels[:, 1:][said])
        if self.looking is None:
            return {"loss": language}
        terms = self.looking(output.attentions, input_ids, labels)
        return {"loss": language + self.weight * terms["looking"], "language": language} | terms


def stretch(input_ids: Tensor) -> Tensor:
    """Positions (B, T) with a few gaps, as if more had been said: long talks are rarely seen.

    Every other row, on average, stays as it is.
    """
    rows, length = input_ids.shape
    gaps = torch.randint(0, _LONGEST_GAP, (rows, length), device=input_ids.device)
    rare = torch.rand(rows, length, device=input_ids.device) < _GAPS / length
    some = torch.rand(rows, 1, device=input_ids.device) < 0.5
    return torch.arange(length, device=input_ids.device) + (gaps * (rare & some)).cumsum(dim=1)


def count(model: SymbolicPretraining, batch: dict) -> Tensor:
    """Count right answers of a batch, as `count_answers` does."""
    logits = model(**batch)["logits"]
    return count_answers(logits, batch["labels"], batch["kinds"], model.tokens)
