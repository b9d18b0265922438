"""What a QLoRA step costs at the released size: memory and seconds, with random weights.

One example of 1,024 tokens, picture and regions included, with the language model in 4 bit and
activation checkpointing, as `groma train lora --quantization 4bit` runs it. Needs a CUDA GPU;
with --layers 2 --width 256 --device cpu it shows on any machine that the parts fit together.

python -m benchmarks.qlora [--tokens 1024] [--steps 10]
"""

import argparse
import time
from typing import Any

import bitsandbytes as bnb
import torch
from torch import Tensor, nn

from groma.checkpoint.adapters import LINEARS, add_lora
from groma.config import GromaConfig
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.lora_trainer import memory_in_use
from groma.finetune.memory_estimate import estimate
from groma.machine import resolve_dtype
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import set_cpu_packing
from groma.model.training_forward import encode_pictures
from groma.tokens import NEW_TOKENS


def released_size(width: int, layers: int) -> GromaConfig:
    """Sizes of the released model, but for width and depth of the language model."""
    return GromaConfig(
        vision_config={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 518,
            "patch_size": 14,
        },
        text_config={
            "vocab_size": 32000 + len(NEW_TOKENS),
            "hidden_size": width,
            "intermediate_size": 11008 * width // 4096,
            "num_hidden_layers": layers,
            "num_attention_heads": max(1, width // 128),
            "max_position_embeddings": 4096,
        },
    )


def random_model(
    config: GromaConfig, device: torch.device, dtype: torch.dtype
) -> GromaForConditionalGeneration:
    """A model whose weights are made where they are used; linear layers in 4 bit."""
    with torch.device("meta"):
        model = GromaForConditionalGeneration(config)
    for name, module in list(model.language_model.named_modules()):
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in LINEARS:
            parent = model.language_model.get_submodule(name.rsplit(".", 1)[0])
            setattr(parent, name.rsplit(".", 1)[-1], packed(module, device, dtype))
    for module in model.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            continue
        for name, weight in list(module.named_parameters(recurse=False)):
            made = torch.randn(weight.shape, device=device, dtype=dtype) * 0.02
            setattr(module, name, nn.Parameter(made, requires_grad=False))
    rotary = model.language_model.model.rotary_emb
    with device:
        model.language_model.model.rotary_emb = type(rotary)(config.text_config)
    set_cpu_packing(model, allowed=False)
    return model


def packed(linear: nn.Linear, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A random linear layer of the same size in 4 bit; moving it to the device packs it."""
    made = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=False,
        compute_dtype=dtype,
        quant_type="nf4",
    )
    pack: Any = bnb.nn.Params4bit
    made.weight = pack(
        torch.randn(linear.weight.shape, dtype=dtype) * 0.02,
        requires_grad=False,
        quant_type="nf4",
        compress_statistics=True,
    )
    return made.to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no CUDA GPU here; --layers 2 --width 256 --device cpu runs a small one.")
        return
    config = released_size(options.width, options.layers)
    settings = LoraSettings(
        "random", "4bit", device=options.device, rank=options.rank, checkpointing=True
    ).complete(options.width, 1)
    device = torch.device(options.device)
    dtype = resolve_dtype("auto", options.device, options.width)
    seconds = measure(config, settings, device, dtype, options)
    text = options.tokens - config.num_image_tokens - 2 * config.max_regions
    expected = estimate(config, settings, text, 1)
    print(f"{options.tokens} tokens, rank {options.rank}, {dtype}, {options.device}")
    print(f"{seconds:.2f} s per step, at most {memory_in_use() / 1e9:.2f} GB")
    for name, size in expected.rows():
        print(f"  estimated {name}: {size}")


def measure(
    config: GromaConfig,
    settings: LoraSettings,
    device: torch.device,
    dtype: torch.dtype,
    options: argparse.Namespace,
) -> float:
    """Seconds per step, after one to warm up."""
    model = random_model(config, device, dtype)
    assert settings.alpha is not None
    adapted = add_lora(model, settings.rank, settings.alpha, settings.dropout)
    model.language_model.activation_checkpointing_enable()
    model.train()
    learning = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, fused=True)
    side = config.image_size
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        pixels = torch.zeros(1, 3, side, side, device=device, dtype=dtype)
        picture = encode_pictures(model, model.image_features(pixels))[0]
    read = len(picture.image_tokens) + len(picture.regions) * 2
    text = torch.randint(5, 30000, (options.tokens - read,), device=device)
    marks = torch.tensor([model.tokens["<image>"], model.tokens["<region>"]], device=device)
    ids: Tensor = torch.cat([marks, text])[None]
    for step in range(options.steps + 1):
        if step == 1:
            start = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            loss = model(ids, [picture], labels=ids, shuffle_regions=True).loss
        assert loss is not None
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())  # waits for the GPU
    return (time.perf_counter() - start) / options.steps


if __name__ == "__main__":
    main()
