"""Several processes, each with a share of every batch, that learn as one with all of it."""

import torch
import torch.distributed as dist
from torch import Tensor


def share_of(loss: Tensor, count: Tensor | int) -> Tensor:
    """Weight a mean over this process's items by how many there are.

    Processes average their gradients. With this, the average over processes is the mean over the
    items of all of them, however unevenly they are spread. `loss` is the () mean over the `count`
    items of this process; returns () the loss itself where there is one process.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return loss
    own = torch.as_tensor(count, dtype=torch.float32, device=loss.device)
    total = own.clone()
    dist.all_reduce(total)
    return loss * (own * dist.get_world_size() / total.clamp(min=1))
