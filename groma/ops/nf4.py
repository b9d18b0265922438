"""4-bit NormalFloat weights (QLoRA's nf4) back to numbers, in plain PyTorch."""

import torch
import torch.nn.functional as F
from torch import Tensor


def unpack_codes(packed: Tensor, table: Tensor) -> Tensor:
    """Look up two 4-bit codes per byte, the high one first.

    Args:
        packed: uint8 of any shape with n / 2 bytes.
        table: (16,) the value of each code.

    Returns:
        (n,) in the type of `table`.
    """
    byte = torch.arange(256, device=table.device)
    pairs = torch.stack([table[byte >> 4], table[byte & 15]], dim=1)
    return pairs.index_select(0, packed.flatten().int()).flatten()


def scale_blocks(values: Tensor, scales: Tensor, block: int) -> Tensor:
    """Multiply each run of `block` values by its scale.

    Args:
        values: (n,).
        scales: (ceil(n / block),).
        block: values per scale.

    Returns:
        (n,).
    """
    padded = F.pad(values, (0, -len(values) % block)).view(-1, block)
    return (padded * scales[:, None]).flatten()[: len(values)]
