"""What each stage on scenes trains: the paper's three, and two of the embedded model."""

from collections.abc import Mapping

from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.data.mixture import Mixture
from groma.dice import Split
from groma.model.groma import GromaForConditionalGeneration
from groma.text.template import Template
from groma.tokens import NEW_TOKENS, TokenIds
from groma.train import starting
from groma.train.paper_jobs import Job, JobMaker, fuse
from groma.train.stages import freeze_for
from recipes.scenes.objectives import (
    detection_metrics,
    language_metrics,
    scene_conversations,
    symbolic_pretraining,
)
from recipes.scenes.objectives.detection_pretraining import DetectionPretraining
from recipes.scenes.objectives.looking import Looking, telling_tokens
from recipes.scenes.objectives.scene_conversations import (
    ConversationCollator,
    SceneConversations,
    SceneInstruction,
)
from recipes.scenes.objectives.scene_samples import SceneSamples, collate
from recipes.scenes.objectives.seen_instruction import (
    SeenCollator,
    SeenConversations,
    SeenInstruction,
    SeenScenes,
)
from recipes.scenes.objectives.symbolic_pretraining import (
    ILLUSTRATED,
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
    SymbolicRegionEncoder,
)
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.region_words import REGIONS_NAME, symbolic_regions, words_for_regions
from recipes.scenes.scene_configuration import SceneConfiguration
from recipes.scenes.symbols import SymbolicScenes

ENDLESS = 10_000_000
"""Scenes of one pass; no run reaches the end, so any run can be made longer."""


def detection_job(c: SceneConfiguration, mixture: Mixture | None, processes: int) -> Job:  # noqa: ARG001
    """Detection pretraining (paper 3.3, stage 1)."""
    model = starting.detector(c.model)
    freeze_for(model, c.stage)
    side, patch = model.config.image_size, model.config.vision_config.patch_size
    regions = words_for_regions(c.model)
    train, unseen = (SceneGenerator(s, c.scenes.seed, side) for s in ("train", "val"))
    return Job(
        DetectionPretraining(model, regions, c.stage.loss_weights),
        model,
        SceneSamples(train, ENDLESS, patch),
        collate,
        SceneSamples(unseen, c.scenes.evaluated, patch),
        detection_metrics.count,
        detection_metrics.summarise,
    )


def teach_looking(
    c: SceneConfiguration, words: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> Looking | None:
    """What teaches the heads of a small language model where to look, if the stage weighs it."""
    if not c.stage.loss_weights.get("looking"):
        return None
    words.set_attn_implementation("eager")  # the only one that tells where it looks
    vocabulary = words.config.vocab_size
    tokens = TokenIds(vocabulary - len(NEW_TOKENS))
    return Looking(tokens, telling_tokens(tokenizer, vocabulary))


def symbolic_job(c: SceneConfiguration, mixture: Mixture | None, processes: int) -> Job:  # noqa: ARG001
    """Language pretraining on scenes without pictures."""
    model, tokenizer = starting.language_model(c.model)
    looking = teach_looking(c, model, tokenizer)
    fuse(c, model)
    regions = symbolic_regions(c.model, model, tokenizer)
    tokens = TokenIds(model.config.vocab_size - len(NEW_TOKENS))
    template = Template(tokenizer, tokens)
    train, unseen = (
        SymbolicConversations(
            ILLUSTRATED, SymbolicScenes(split, c.scenes.seed), template, length, c.run.limit, easy
        )
        for split, length, easy in (
            ("train", ENDLESS, c.scenes.easy),
            ("val", c.scenes.evaluated, 0),
        )
    )
    return Job(
        SymbolicPretraining(
            model, regions, tokens, looking, c.stage.loss_weights.get("looking", 0.0)
        ),
        model,
        train,
        SymbolicCollator(tokens),
        unseen,
        symbolic_pretraining.count,
        language_metrics.summarise_answers,
        tokenizer,
        {REGIONS_NAME: regions},
    )


def conversation_job(c: SceneConfiguration, mixture: Mixture | None, processes: int) -> Job:  # noqa: ARG001
    """Alignment pretraining or instruction finetuning (paper 3.3, stages 2 and 3)."""
    model, tokenizer = starting.whole_model(c.model)
    freeze_for(model, c.stage)
    fuse(c, model.language_model)
    regions = symbolic_regions(c.model, model.language_model, tokenizer)
    looking = teach_looking(c, model.language_model, tokenizer)
    if c.scenes.pictures:
        return seen_job(c, model, tokenizer, regions, looking)
    template = Template(tokenizer, model.tokens)
    train, unseen = (
        SceneConversations(
            SceneGenerator(split, c.scenes.seed, model.config.image_size),
            template,
            length,
            c.run.limit,
        )
        for split, length in (("train", ENDLESS), ("val", c.scenes.evaluated))
    )
    return Job(
        SceneInstruction(model, regions, c.stage.loss_weights, looking),
        model,
        train,
        ConversationCollator(model.tokens),
        unseen,
        scene_conversations.count,
        language_metrics.summarise_answers,
        tokenizer,
        {REGIONS_NAME: regions},
    )


def seen_job(
    c: SceneConfiguration,
    model: GromaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    regions: SymbolicRegionEncoder,
    looking: Looking | None,
) -> Job:
    """Instruction finetuning of the language model alone, on pictures that are looked at once."""
    counts: dict[Split, int] = {"train": c.scenes.pictures, "val": c.scenes.evaluated}
    seen = {
        split: SeenScenes(
            SceneGenerator(split, c.scenes.seed, model.config.image_size),
            c.out / "seen" / split,
            count,
        )
        for split, count in counts.items()
    }
    for pictures in seen.values():
        pictures.prepare(model.eval())
    template = Template(tokenizer, model.tokens)
    train, unseen = (
        SeenConversations(seen[split], template, length, c.run.limit)
        for split, length in (("train", ENDLESS), ("val", c.scenes.evaluated))
    )
    return Job(
        SeenInstruction(model, None, c.stage.loss_weights, looking),
        model,
        train,
        SeenCollator(model.tokens),
        unseen,
        scene_conversations.count,
        language_metrics.summarise_answers,
        tokenizer,
        {REGIONS_NAME: regions},
    )


SCENE_JOBS: Mapping[str, JobMaker] = {
    "detection": detection_job,
    "symbolic": symbolic_job,
    "alignment": conversation_job,
    "reading": conversation_job,
    "instruction": conversation_job,
}
"""What makes the job of each stage."""
