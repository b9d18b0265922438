"""Language pretraining for the photograph model: talk about what was seen, without pictures."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.config import NUM_REGION_TOKENS
from groma.data.mixture import Mixture
from groma.data.tokenise import write
from groma.dice import Dice
from groma.model.region_code import RegionCode
from groma.model.splice import expand_with_labels, name_boxes
from groma.text.template import Template
from groma.tokens import GROUND_BOX, NEW_TOKENS, REFER_BOX, TokenIds
from groma.train import starting
from groma.train.paper_jobs import Job, fuse
from recipes.photographs.photograph_scenes import (
    NUM_FEATURES,
    PhotographScenes,
    SeenRegions,
    seen_regions,
)
from recipes.photographs.photograph_talk import KINDS, talk, tempting_nouns
from recipes.photographs.vocabulary import CERTAINTIES, COLOURS, NOUNS, PHOTOGRAPHS, SIZES
from recipes.scenes.language.conversations import language_dice
from recipes.scenes.objectives import language_metrics
from recipes.scenes.objectives.looking import Looking, telling_tokens
from recipes.scenes.objectives.symbolic_pretraining import (
    SymbolicCollator,
    SymbolicPretraining,
    speak,
)
from recipes.scenes.region_words import REGIONS_NAME
from recipes.scenes.scene_configuration import SceneConfiguration
from recipes.scenes.scene_jobs import ENDLESS

PARTS = {
    "names": len(NOUNS),
    "colours": len(COLOURS),
    "sizes": len(SIZES),
    "certainties": len(CERTAINTIES),
    "features": NUM_FEATURES,
}
"""Of the photograph model's region code."""
TURNS = 12
"""Most turns of a conversation; those that do not fit its tokens are cut off."""
_FEW = 4
_FEATURE_SHARE = 0.35
"""Length of what features add to a region token, in words."""
_SCATTERED_SHARE = 0.15
"""Share of scenes whose regions have names with gaps, up to `<r99>`."""


def region_code(table: Tensor, tokenizer: PreTrainedTokenizerBase) -> RegionCode:
    """The code of the photograph model for a language model's words.

    Args:
        table: (V, D) word embeddings.
        tokenizer: of these words.
    """
    code = RegionCode(table.shape[1], **PARTS)
    speak(code, {"names": NOUNS, "colours": COLOURS, "sizes": SIZES}, table, tokenizer)
    length = float(table.detach().norm(dim=1).mean())
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part, share in (("certainties", 1.0), ("features", _FEATURE_SHARE)):
            weight = code.get_submodule(part).get_parameter("weight")
            directions = torch.nn.init.orthogonal_(torch.empty_like(weight), generator=dice)
            # All features together, each of variance 1, are to be `share` words long.
            count = NUM_FEATURES if part == "features" else 1
            weight.copy_(directions * length * share / count**0.5)
    return code


@dataclass(frozen=True)
class PhotographConversations(Dataset):
    """Conversations about photographs without pixels; the same index is always the same sample.

    Attributes:
        scenes: where they come from.
        template: of the language model.
        length: how many conversations count as one pass.
        limit: most tokens before the regions are listed.
        easy: how many conversations at the beginning are about few things.
    """

    scenes: PhotographScenes
    template: Template
    length: int
    limit: int = 384
    easy: int = 0

    def __len__(self) -> int:
        """Conversations of one pass."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One conversation, as `SymbolicConversations` gives it."""
        scenes = self.scenes
        scene = scenes[index]
        easy = index < self.easy
        while easy and not 0 < len(scene.things) <= _FEW:
            index += self.easy
            scene = scenes[index]
        dice = Dice.of(scenes.split, scenes.seed, index, stream=13)
        sample = talk(scene, language_dice(scenes.split, scenes.seed, index), (TURNS, TURNS))
        regions = seen_regions(scene, dice, tempting_nouns(sample))
        written = write(sample, self.template, self.limit)
        rows = torch.from_numpy(regions.source).argsort(stable=True)[(regions.source < 0).sum() :]
        referred, tokens = rows[written.refer], self.template.tokens
        names = draw_names(len(regions), referred, dice)
        ids = name_boxes(written.ids, REFER_BOX, names[referred], tokens)
        named = name_boxes(ids, GROUND_BOX, names[rows[written.ground]], tokens)
        labels = torch.where(written.labels == written.ids, named, written.labels)
        ids, labels = expand_with_labels(named, labels, names, tokens, num_image_tokens=0)
        return {
            "regions": _tensors(regions),
            "ids": ids,
            "labels": labels,
            "referred": referred,
            "kinds": language_metrics.kind_indices([turn.kind for turn in sample.turns], KINDS),
        }


def draw_names(count: int, referred: Tensor, dice: Dice) -> Tensor:
    """(N,) numbers of region names: ascending, but the user's regions got theirs last.

    Args:
        count: N.
        referred: (K,) rows of the regions that the user points at, in this order.
        dice: whether there are gaps.
    """
    numbers = list(range(count))
    if dice.maybe(_SCATTERED_SHARE):
        numbers = sorted(dice.sample(range(NUM_REGION_TOKENS), count))
    drawn = list(dict.fromkeys(referred.tolist()))
    order = [row for row in range(count) if row not in drawn] + drawn
    names = torch.empty(count, dtype=torch.long)
    names[torch.tensor(order)] = torch.tensor(numbers)
    return names


def _tensors(regions: SeenRegions) -> dict[str, Tensor]:
    return {part: torch.from_numpy(getattr(regions, part)) for part in ("boxes", *PARTS)}


def language_job(c: SceneConfiguration, mixture: Mixture | None, processes: int) -> Job:  # noqa: ARG001
    """The job of this stage; see `groma.train.stage_run`."""
    scenes = c.scenes
    model, tokenizer = starting.language_model(c.model)
    tokens = TokenIds(model.config.vocab_size - len(NEW_TOKENS))
    looking = None
    if c.stage.loss_weights.get("looking"):
        model.set_attn_implementation("eager")  # the only one that tells where it looks
        looking = Looking(tokens, telling_tokens(tokenizer, model.config.vocab_size, PHOTOGRAPHS))
    fuse(c, model)
    code = read_code(c.model.folder, model, tokenizer)
    template = Template(tokenizer, tokens)
    train, unseen = (
        PhotographConversations(
            PhotographScenes(split, scenes.seed), template, length, c.run.limit, easy
        )
        for split, length, easy in (
            ("train", ENDLESS, scenes.easy),
            ("val", scenes.evaluated, 0),
        )
    )
    weight = c.stage.loss_weights.get("looking", 0.0)
    return Job(
        SymbolicPretraining(model, code, tokens, looking, weight),
        model,
        train,
        SymbolicCollator(tokens),
        unseen,
        count,
        partial(language_metrics.summarise_answers, known=KINDS),
        tokenizer,
        {REGIONS_NAME: code},
    )


def count(model: SymbolicPretraining, batch: dict) -> Tensor:
    """Count right answers of a batch, as `count_answers` does."""
    logits = model(**batch)["logits"]
    return language_metrics.count_answers(
        logits, batch["labels"], batch["kinds"], model.tokens, KINDS
    )


def read_code(
    folder: str | None, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> RegionCode:
    """The region code beside a language model, or a new one that starts from its words."""
    code = region_code(model.model.embed_tokens.weight, tokenizer)
    file = Path(folder or "") / REGIONS_NAME
    if file.is_file():
        code.load_state_dict(load_file(file))
    return code
