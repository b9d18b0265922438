"""What test_parallel runs in two processes: `accelerate launch two_processes.py FOLDER CONFIG…`."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from groma import cli
from groma.train import run_log, starting
from groma.train.configuration import Start
from groma.train.instruction import GroundedConversations
from groma.train.stages import freeze_for, keep_old_words


def main() -> None:
    folder, configurations = Path(sys.argv[1]), sys.argv[2:]
    GroundedConversations.shuffle_regions = False
    run_log.plot = lambda *_: None
    for file in configurations:
        stage = Path(file).stem
        arguments = ["--batch", "2", "--out", f"{folder}/{stage}-shared"]
        assert cli.main(["train", stage, file, *arguments]) == 0
    learn_sharded(folder)
    dist.destroy_process_group()


def learn_sharded(folder: Path) -> None:
    """One step with the weights divided between the processes (FSDP2), each with half a batch."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    saved = torch.load(folder / "sharded.pt", weights_only=False)
    model, _ = starting.whole_model(Start(folder=saved["model"]))
    freeze_for(model, saved["stage"])
    objective = GroundedConversations(model, None, {"language": 1.0})
    mesh = init_device_mesh("cpu", (processes,))
    for layer in (*model.language_model.model.layers, *model.image_encoder.vit.encoder.layer):
        fully_shard(layer, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.1)
    share = {name: value[rank::processes] for name, value in saved["batch"].items()}
    loss = objective(**share)["loss"]
    loss.backward()
    keep_old_words(model)
    optimizer.step()
    total = loss.detach().clone()
    dist.all_reduce(total)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    if rank == 0:
        torch.save({"loss": total / processes, "state": state}, folder / "learnt.pt")


if __name__ == "__main__":
    main()
