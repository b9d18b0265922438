"""Start or resume a stage of the language side: `python -m groma.train.run_language symbolic …`.

Every stage leaves a folder `model` that the next one starts from: weights, tokenizer, and the
symbolic region encoder that region tokens are aligned to.
"""

import argparse
import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM, set_seed
from transformers.trainer_utils import get_last_checkpoint

from groma.data.scenes.generator import SceneGenerator
from groma.data.scenes.symbolic import SymbolicScenes
from groma.loading import load_tokenizer
from groma.model.groma import GromaForConditionalGeneration
from groma.text.template import Template
from groma.tokens import NEW_TOKENS, TokenIds
from groma.train import instruction, symbolic
from groma.train.alignment import RegionAlignment
from groma.train.checkpoints import load_visual_parts
from groma.train.instruction import (
    ConversationCollator,
    GroundedConversations,
    SceneConversations,
)
from groma.train.language_metrics import summarise_answers
from groma.train.presets import groma_mini_config
from groma.train.stages import LANGUAGE_STAGES, Stage, freeze_for
from groma.train.symbolic import (
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
    SymbolicRegionEncoder,
)
from groma.train.trainer import StageTrainer, training_arguments

ENDLESS = 10_000_000
"""Conversations of one pass: no run reaches the end."""
_FITTED = 512
"""Pictures for the first guess of the projection."""
REGIONS_NAME = "symbolic_regions.safetensors"

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    options = parse(arguments)
    stage = LANGUAGE_STAGES[options.stage]
    changes = {
        "steps": options.steps,
        "batch_size": options.batch,
        "accumulation": options.accumulation,
        "lr": options.lr,
    }
    stage = replace(stage, **{k: v for k, v in changes.items() if v is not None})
    set_seed(options.seed)
    (run_symbolic if stage.name == "symbolic" else run_visual)(stage, options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=list(LANGUAGE_STAGES))
    parser.add_argument("--model", type=Path, required=True, help="folder to start from")
    parser.add_argument("--visual", type=Path, help="checkpoint of the detection stage")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, help="all steps of the stage, also when resuming")
    parser.add_argument("--batch", type=int, help="conversations per step and device")
    parser.add_argument("--accumulation", type=int, help="batches per step")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--limit", type=int, default=384, help="tokens per conversation")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--save-steps", type=int, default=100)
    parser.add_argument("--eval-steps", type=int, default=100)
    parser.add_argument("--eval-scenes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser.parse_args(arguments)


def run_symbolic(stage: Stage, options: argparse.Namespace) -> None:
    """Language pretraining on scenes without pictures."""
    tokenizer = load_tokenizer(options.model)
    model = LlamaForCausalLM.from_pretrained(
        options.model, dtype=torch.float32, attn_implementation=attention()
    )
    regions = read_regions(options.model, model, tokenizer)
    tokens = TokenIds(model.config.vocab_size - len(NEW_TOKENS))
    template = Template(tokenizer, tokens)
    trainer = make_trainer(
        stage,
        options,
        SymbolicPretraining(model, regions, tokens),
        symbolic.count,
        lambda split, length: SymbolicConversations(
            SymbolicScenes(split, options.seed), template, length, options.limit
        ),
        SymbolicCollator(tokens),
    )
    train(trainer, stage, options)
    save(trainer, stage, model, regions, tokenizer)


def run_visual(stage: Stage, options: argparse.Namespace) -> None:
    """Alignment pretraining or instruction finetuning."""
    tokenizer = load_tokenizer(options.model)
    model = read_model(options.model, options.visual)
    regions = read_regions(options.model, model.language_model, tokenizer)
    freeze_for(model, stage)
    template, side = Template(tokenizer, model.tokens), model.config.image_size
    alone = stage.name == "regions"
    objective = (RegionAlignment if alone else GroundedConversations)(
        model, regions, stage.loss_weights
    )
    trainer = make_trainer(
        stage,
        options,
        objective,
        None if alone else instruction.count,
        lambda split, length: SceneConversations(
            SceneGenerator(split, options.seed, side), template, length, options.limit
        ),
        ConversationCollator(model.tokens),
    )
    if isinstance(objective, RegionAlignment) and last_checkpoint(options) is None:
        batches = islice(trainer.get_train_dataloader(), max(1, _FITTED // stage.batch_size))
        objective.fit_projection(batches)
    train(trainer, stage, options)
    save(trainer, stage, model, regions, tokenizer)


def make_trainer(
    stage: Stage,
    options: argparse.Namespace,
    objective: nn.Module,
    count: Callable | None,
    dataset: Callable[[Any, int], Any],
    collator: Callable,
) -> StageTrainer:
    """A trainer on endless training data and a few unseen samples."""
    return StageTrainer(
        stage,
        count,
        model=objective,
        args=training_arguments(
            stage,
            options.out,
            save_steps=options.save_steps,
            eval_steps=options.eval_steps,
            eval_strategy="no" if count is None else "steps",
            dataloader_num_workers=options.workers,
            seed=options.seed,
        ),
        train_dataset=dataset("train", ENDLESS),
        eval_dataset=dataset("val", options.eval_scenes),
        data_collator=collator,
        compute_metrics=summarise_answers,
    )


def train(trainer: StageTrainer, stage: Stage, options: argparse.Namespace) -> None:
    """Run to the end of the stage."""
    trainer.train(resume_from_checkpoint=last_checkpoint(options))
    logger.info("%s: %d of %d steps.", stage.name, trainer.state.global_step, stage.steps)


def last_checkpoint(options: argparse.Namespace) -> str | None:
    """Where to go on, if the run is to be resumed and there is something to resume."""
    exists = options.resume and options.out.is_dir()
    return get_last_checkpoint(str(options.out)) if exists else None


def save(
    trainer: StageTrainer,
    stage: Stage,
    model: LlamaForCausalLM | GromaForConditionalGeneration,
    regions: SymbolicRegionEncoder,
    tokenizer: Any,
) -> None:
    """Write the folder the next stage starts from, once the stage is complete."""
    if trainer.state.global_step < stage.steps or not trainer.is_world_process_zero():
        return
    folder = Path(str(trainer.args.output_dir)) / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_file(regions.state_dict(), folder / REGIONS_NAME)


def read_model(folder: Path, visual: Path | None) -> GromaForConditionalGeneration:
    """A whole model, or one composed of a language model and the parts detection has trained.

    Args:
        folder: of the whole model; of the language model, if `visual` is given.
        visual: a checkpoint of detection pretraining.
    """
    if visual is None:
        model = GromaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        model.language_model.set_attn_implementation(attention())
        return model
    language_model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = groma_mini_config()
    config.text_config = language_model.config
    config.text_config._attn_implementation = attention()
    model = GromaForConditionalGeneration(config)
    load_visual_parts(model, visual)
    model.language_model.load_state_dict(language_model.state_dict())
    return model


def read_regions(
    folder: Path, language_model: LlamaForCausalLM, tokenizer: Any
) -> SymbolicRegionEncoder:
    """The symbolic region encoder of a folder, or a new one that starts from words."""
    regions = SymbolicRegionEncoder(language_model.config.hidden_size)
    if (folder / REGIONS_NAME).is_file():
        regions.load_state_dict(load_file(folder / REGIONS_NAME))
    else:
        regions.speak(language_model.model.embed_tokens.weight, tokenizer)
    return regions


def attention() -> str:
    """Plain attention is faster than SDPA on a CPU."""
    return "sdpa" if torch.cuda.is_available() else "eager"


if __name__ == "__main__":
    main()
