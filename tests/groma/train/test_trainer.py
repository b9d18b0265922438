from dataclasses import replace

import pytest
import torch

from groma.loop.curves import LOG_NAME, PLOT_NAME, read_log
from groma.model.groma import GromaForConditionalGeneration
from groma.train.configuration import Run
from groma.train.stages import freeze_for
from groma.train.trainer import StageTrainer, training_arguments
from recipes.scenes.objectives.detection_metrics import count, summarise
from recipes.scenes.objectives.detection_pretraining import DetectionPretraining
from recipes.scenes.objectives.scene_samples import collate
from tests.groma.train.shipped import DETECTION

STAGE = replace(DETECTION, batch_size=2, steps=6, warmup_steps=2, decay_share=0.5)
QUIET = {
    "logging_steps": 1,
    "save_steps": 2,
    "eval_steps": 3,
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": None,
    "dataloader_persistent_workers": False,
    "disable_tqdm": True,
    "enable_jit_checkpoint": False,
}


@pytest.fixture
def make_trainer(tiny_config, words, scenes):
    def make(folder, stage=STAGE, **options):
        torch.manual_seed(0)
        model = GromaForConditionalGeneration(tiny_config)
        freeze_for(model, stage)
        return StageTrainer(
            stage,
            count,
            model=DetectionPretraining(model, words, stage.loss_weights),
            args=training_arguments(stage, folder, Run(), **(QUIET | options)),
            train_dataset=scenes,
            eval_dataset=torch.utils.data.Subset(scenes, range(4)),
            data_collator=collate,
            compute_metrics=summarise,
        )

    return make


def losses(folder):
    return {row["step"]: row["loss"] for row in read_log(folder) if "loss" in row}


def test_a_resumed_run_equals_an_unbroken_one(make_trainer, tmp_path):
    make_trainer(tmp_path / "whole").train()
    broken = tmp_path / "broken"
    first = make_trainer(broken)
    stop_after(first, 5)
    first.train()
    make_trainer(broken).train(resume_from_checkpoint=str(broken / "checkpoint-4"))
    assert losses(broken) == losses(tmp_path / "whole")
    assert sorted(losses(broken)) == list(range(1, 7))


def test_accumulated_batches_make_one_step(make_trainer, tmp_path):
    stage = replace(STAGE, steps=2, accumulation=2)
    trainer = make_trainer(tmp_path, stage)
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.get_total_train_batch_size(trainer.args) == 4


def test_a_run_leaves_terms_metrics_and_a_plot(make_trainer, tmp_path):
    trainer = make_trainer(tmp_path, replace(STAGE, steps=3), gradient_checkpointing=True)
    trainer.train()
    rows = read_log(tmp_path)
    assert set(DETECTION.loss_weights) <= set(rows[0])
    assert rows[0]["samples_per_second"] > 0
    assert any("eval_recall50" in row for row in rows)
    assert (tmp_path / LOG_NAME).exists()
    assert (tmp_path / PLOT_NAME).stat().st_size > 1000


def stop_after(trainer, step):
    """Break off the training as a killed process would: after a step that has no checkpoint."""

    def training_step(*arguments, **options):
        if trainer.state.global_step == step:
            trainer.control.should_training_stop = True
        return original(*arguments, **options)

    original, trainer.training_step = trainer.training_step, training_step
