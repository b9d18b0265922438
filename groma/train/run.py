"""Start or resume a stage: `python -m groma.train.run detection --out FOLDER`."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from transformers import set_seed
from transformers.trainer_utils import get_last_checkpoint

from groma.data.scenes.generator import SceneGenerator
from groma.model.groma import GromaForConditionalGeneration
from groma.train.detection import DetectionPretraining
from groma.train.detection_metrics import count, summarise
from groma.train.presets import groma_mini_config
from groma.train.scene_samples import SceneSamples, collate
from groma.train.stages import DETECTION, Stage, freeze_for
from groma.train.trainer import StageTrainer, training_arguments

ENDLESS = 10_000_000
"""Scenes of one pass; no run reaches the end, so any run can be made longer."""

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> None:
    """Run what the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    options = parse(arguments)
    stage = replace(DETECTION, steps=options.steps or DETECTION.steps)
    if options.decay_share is not None:
        stage = replace(stage, decay_share=options.decay_share)
    if options.batch:
        stage = replace(stage, batch_size=options.batch)
    run_detection(stage, options.out, options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["detection"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, help="all steps of the stage, also when resuming")
    parser.add_argument("--decay-share", type=float, help="last share of the steps, for the decay")
    parser.add_argument("--batch", type=int, help="scenes per step")
    parser.add_argument("--save-steps", type=int, default=250)
    parser.add_argument("--eval-steps", type=int, default=250)
    parser.add_argument("--eval-scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and the initial weights")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    return parser.parse_args(arguments)


def run_detection(stage: Stage, folder: Path, options: argparse.Namespace) -> None:
    """Detection pretraining of the embedded model; leaves the model in `folder/model`."""
    set_seed(options.seed)
    config = groma_mini_config(text_layers=1)
    if not torch.cuda.is_available():
        config.vision_config._attn_implementation = "eager"  # faster than SDPA on a CPU
    model = GromaForConditionalGeneration(config)
    freeze_for(model, stage)
    patch = config.vision_config.patch_size
    scenes = SceneGenerator("train", options.seed, config.image_size)
    unseen = SceneGenerator("val", options.seed, config.image_size)
    trainer = StageTrainer(
        stage,
        count,
        model=DetectionPretraining(model, stage.loss_weights),
        args=training_arguments(
            stage,
            folder,
            save_steps=options.save_steps,
            eval_steps=options.eval_steps,
            seed=options.seed,
        ),
        train_dataset=SceneSamples(scenes, ENDLESS, patch),
        eval_dataset=SceneSamples(unseen, options.eval_scenes, patch),
        data_collator=collate,
        compute_metrics=summarise,
    )
    checkpoint = get_last_checkpoint(str(folder)) if options.resume else None
    trainer.train(resume_from_checkpoint=checkpoint)
    if trainer.state.global_step >= stage.steps and trainer.is_world_process_zero():
        model.save_pretrained(folder / "model")
        logger.info("The model is in %s.", folder / "model")


if __name__ == "__main__":
    main()
