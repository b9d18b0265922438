"""What test_parallel runs in two processes: `two_processes.py share|divide FOLDER CONFIG…`."""

import shutil
import sys
from pathlib import Path

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType

from groma import machine
from groma.cli import main as cli
from groma.finetune.lora_objective import AdapterObjective
from groma.loop import run_log
from groma.train.objectives.grounded_conversations import GroundedConversations


def main() -> None:
    how, folder, configurations = sys.argv[1], Path(sys.argv[2]), map(Path, sys.argv[3:])
    GroundedConversations.shuffle_regions = False
    AdapterObjective.varies = False
    machine.computes_in_bf16 = lambda _device: False
    run_log.plot = lambda *_: None
    if how == "divide":
        pretend_to_have_gpus()
    for file in configurations:
        out = folder / f"{file.stem}-shared"
        stage = file.stem.removesuffix("_divided")
        arguments = ["train", stage, str(file), "--batch", "2", "--out", str(out)]
        assert cli.main(arguments) == 0
        if (out / "checkpoint-4").is_dir():
            break_off_after(out, 2)
            assert cli.main([*arguments, "--resume"]) == 0
    if how == "share":
        assert cli.main(["train", "lora", "--resume", "--out", f"{folder}/lora-shared"]) == 0
    dist.destroy_process_group()


def break_off_after(out: Path, step: int) -> None:
    """Leave a finished run as if it had been killed after a checkpoint."""
    assert (out / f"checkpoint-{step}").is_dir()
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(out / "checkpoint-4")
        shutil.rmtree(out / "model")
    dist.barrier()


def pretend_to_have_gpus() -> None:
    """Let accelerate divide weights among processes without a GPU, which it refuses by itself."""
    initialise = PartialState.__init__

    def pretend(self: PartialState, *arguments: object, **options: object) -> None:
        initialise(self, *arguments, **options)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = pretend


if __name__ == "__main__":
    main()
