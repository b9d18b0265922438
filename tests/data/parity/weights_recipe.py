"""Name-seeded deterministic weights and inputs for the parity fixtures (numpy only; torch optional).

    tensor(key, shape, seed)  -> float32 ndarray for a parameter called `key` in the OFFICIAL state-dict naming
    fill(state_dict, seed)    -> {key: float32 ndarray} for every non-buffer key of {key: tensor or shape}
    pixels(shape, seed)       -> the synthetic pixel_values
    uniform(name, shape, seed, lo, hi) -> small auxiliary inputs

Every parameter:  n = default_rng([seed, crc32(canonical key)]).standard_normal(shape).astype(float32)
                  value = (n * float32(scale)) + float32(offset)         (both operations in float32)
(scale, offset) come from `rule(key, shape)`; exactly one branch applies, first match wins.
Keys in fixtures are those of the whole official GromaModel, i.e. detector keys start with 'perceiver.'.
"""

import math
import re
import zlib

import numpy as np

# Parameters registered a second time under decoder.* by the official model (same storage): seeded by the first name.
_TIED = re.compile(
    r"(ddetr_transformer)\.decoder\.(bbox_embed|class_embed_enc|class_embed_coco|class_embed_sa1b)\."
)
# not parameters; never filled
_BUFFERS = ("rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached")


def canonical(key):
    return _TIED.sub(r"\1.\2.", key)


def is_buffer(key):
    return key.endswith(_BUFFERS)


def rule(key, shape):
    """-> (scale, offset), offset may be a per-last-dim tuple."""
    k = canonical(key)
    fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    inv = 1.0 / math.sqrt(fan)
    # ---- detection heads
    if re.search(r"class_embed_\w+(\.\d+)?\.bias$", k):
        return 0.5, 0.0
    if re.search(r"class_embed_\w+(\.\d+)?\.weight$", k):
        return 3.0 * inv, 0.0
    if re.search(r"bbox_embed\.\d+\.layers\.2\.bias$", k):
        return 0.15, (0.0, 0.0, 1.0, 1.0)  # wider boxes than the tiny initial proposals
    if re.search(r"bbox_embed\.\d+\.layers\.2\.weight$", k):
        return 1.1 * inv, 0.0
    if k.endswith("sampling_offsets.bias"):
        return 1.5, 0.0
    if k.endswith("sampling_offsets.weight"):
        return 0.7 * inv, 0.0
    if k.endswith("level_embed"):
        return 0.5, 0.0
    # ---- tables
    if k.endswith(
        (
            "embed_tokens.weight",
            "new_input_embs.weight",
            "query_position_embeddings.weight",
            "cls_token",
            "mask_token",
            "position_embeddings",
        )
    ):
        return 0.5, 0.0
    if k.endswith("lambda1"):
        return 0.1, 0.6
    # ---- 1-D
    if len(shape) == 1 and k.endswith(".weight"):
        return 0.1, 1.0  # LayerNorm / GroupNorm / RMSNorm / channel LayerNorm gains
    if len(shape) == 1:
        return 0.1, 0.0  # biases
    # ---- matrices and convolution kernels
    if k.endswith("lm_head.weight"):  # llm.lm_head and extra_lm_head
        return 2.0 * inv, 0.0
    if (
        ".self_attn.q_proj." in k
        or ".self_attn.k_proj." in k
        or ".attention.query." in k
        or ".attention.key." in k
    ):
        return 1.5 * inv, 0.0
    return 1.2 * inv, 0.0


def tensor(key, shape, seed):
    shape = tuple(int(s) for s in shape)
    rng = np.random.default_rng([int(seed), zlib.crc32(canonical(key).encode())])
    scale, offset = rule(key, shape)
    n = rng.standard_normal(shape).astype(np.float32)
    n *= np.float32(scale)
    n += np.asarray(offset, dtype=np.float32)
    return n


def fill(state_dict, seed):
    out = {}
    for key, v in state_dict.items():
        if not is_buffer(key):
            out[key] = tensor(key, tuple(getattr(v, "shape", v)), seed)
    return out


def load_into(module, seed):
    """Fill a torch module in place, one tensor at a time (tied duplicates get identical values)."""
    import torch

    with torch.no_grad():
        for key, v in module.state_dict().items():
            if not is_buffer(key):
                v.copy_(torch.from_numpy(tensor(key, v.shape, seed)))
    return module


def pixels(shape, seed):
    """(B,3,448,448): 28-px blocks + 14-px blocks + fine noise, all standard normal mixtures, float32."""
    b, c, h, w = shape
    rng = np.random.default_rng([int(seed), zlib.crc32(b"pixel_values")])
    a = rng.standard_normal((b, c, h // 28, w // 28)).astype(np.float32)
    m = rng.standard_normal((b, c, h // 14, w // 14)).astype(np.float32)
    f = rng.standard_normal((b, c, h, w)).astype(np.float32)
    a = np.repeat(np.repeat(a, 28, axis=2), 28, axis=3)
    m = np.repeat(np.repeat(m, 14, axis=2), 14, axis=3)
    return a * np.float32(0.8) + m * np.float32(0.5) + f * np.float32(0.4)


def uniform(name, shape, seed, lo, hi):
    rng = np.random.default_rng([int(seed), zlib.crc32(name.encode())])
    return (rng.random(shape) * (hi - lo) + lo).astype(np.float32)


def checksum(a):
    """Order-sensitive summary used to confirm that two sides regenerated the same tensor."""
    a = np.ascontiguousarray(np.asarray(a, dtype=np.float32))
    return {
        "crc32": zlib.crc32(a.tobytes()),
        "sum": float(a.astype(np.float64).sum()),
        "abs_sum": float(np.abs(a.astype(np.float64)).sum()),
    }
