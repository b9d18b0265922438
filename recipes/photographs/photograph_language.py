"""Language pretraining for the photograph model: talk about what was seen, without pictures."""

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.config import NUM_REGION_TOKENS
from groma.data.mixture import Mixture
from groma.data.sample import GroundedSample
from groma.dice import Dice
from groma.model.region_code import RegionCode
from groma.text.template import Template
from groma.tokens import NEW_TOKENS, TokenIds
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
from recipes.scenes.objectives import language_metrics
from recipes.scenes.objectives.looking import Looking, telling_tokens
from recipes.scenes.objectives.symbolic_pretraining import (
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
    Symbolism,
    speak,
)
from recipes.scenes.region_words import REGIONS_NAME
from recipes.scenes.scene import Scene
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


def _is_easy(scene: Scene) -> bool:
    return 0 < len(scene.things) <= _FEW


def _regions(scene: Scene, dice: Dice, sample: GroundedSample) -> SeenRegions:
    return seen_regions(scene, dice, tempting_nouns(sample))


PHOTOGRAPHED = Symbolism(
    stream=13,
    is_easy=_is_easy,
    talk=talk,
    regions=_regions,
    names=draw_names,
    parts=tuple(PARTS),
    kinds=KINDS,
)
"""Photographs without pixels."""


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
        SymbolicConversations(
            PHOTOGRAPHED, PhotographScenes(split, scenes.seed), template, length, c.run.limit, easy
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
