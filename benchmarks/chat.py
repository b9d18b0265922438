"""How long a first answer, a token and a later turn take, against the official code's figures.

And how far the logits of 4-bit weights are from those of the same weights dequantised, on this CPU.

python -m benchmarks.chat                      sizes of the recorded fixture A, random weights
python -m benchmarks.chat --model FOLDER       any checkpoint, a picture and two questions
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image

import groma
from groma import machine
from groma.chat.decoder import PrefixDecoder, PromptEmbedder
from groma.chat.regions import list_regions, name_regions
from groma.checkpoint import load as loading
from groma.checkpoint.convert import convert
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import Quantization, set_cpu_packing
from groma.model.region_selection import SelectionPolicy
from groma.model.splice import expand_placeholders
from groma.tokens import TokenIds
from tests.groma.model import released

OFFICIAL = {"first forward": 1335.0, "decode, per token": 13.2, "second turn": 1335.0}
"""Milliseconds; one thread, fp32, AMD EPYC with AVX-512: the official code on fixture A."""


def measure(run: Callable[[], object], repeats: int) -> float:
    """Median milliseconds of `repeats` runs after one warm-up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


class FixtureBench:
    """The parts of a talk on fixture A's sizes: 448 px, 49 regions, 399 tokens, 4096 wide."""

    def __init__(self, model: GromaForConditionalGeneration) -> None:
        record, recorded = released.fixture()
        self.model, dtype = model.eval(), model.dtype
        self.pixels = torch.from_numpy(released.recipe().pixels((1, 3, 448, 448), record["seed"]))
        self.pixels = self.pixels.to(dtype)
        self.prompt = recorded["input_ids"][0].long()
        self.tokens = TokenIds.of(self.model.config)

    @torch.inference_mode()
    def encode(self) -> None:
        self.image = self.model.encode_image(self.pixels, [(448, 448)])[0]

    def prefill(self) -> None:
        self.decoder = PrefixDecoder(self.model.language_model)
        self.embedder = PromptEmbedder(self.model, self.image, self.tokens)
        config = self.model.config
        policy = SelectionPolicy.of(config)
        self.regions = name_regions((), self.image, (), policy, config.max_regions)
        listed = torch.tensor(list_regions(self.regions, frozenset(), policy))
        ids = expand_placeholders(self.prompt, listed, self.tokens, config.num_image_tokens)
        self.ids = ids.tolist()
        self.read(self.ids)

    def read(self, ids: list[int]) -> None:
        keys = self.embedder.keys(ids, self.regions)
        self.decoder.read(keys, lambda start: self.embedder.embed(ids, self.regions, start))

    def first_forward(self) -> None:
        self.encode()
        self.prefill()

    def second_turn(self) -> None:
        """20 new prompt tokens after the first forward; the cache is put back each time."""
        self.read(self.ids)
        self.read([*self.ids, *range(3, 23)])

    def decode(self) -> None:
        self.decoder.extend(7)


def fixture_table(repeats: int) -> None:
    record, _ = released.fixture()
    with tempfile.TemporaryDirectory() as folder:
        released.write_released(Path(folder), record, shards=0, tied="plain")
        print(f"{'fixture A, one thread, ms':32}{'official':>10}{'fp32':>10}{'bf16':>10}")
        columns = []
        for dtype in (torch.float32, torch.bfloat16):
            load = GromaForConditionalGeneration.from_pretrained
            bench = FixtureBench(load(folder, dtype=dtype))
            bench.first_forward()
            reread = measure(lambda bench=bench: bench.read(bench.ids), repeats)
            columns.append(
                {
                    "encode picture": measure(bench.encode, repeats),
                    "first forward": measure(bench.first_forward, repeats),
                    "decode, per token": measure(bench.decode, 4 * repeats),
                    "second turn": measure(bench.second_turn, repeats) - reread,
                }
            )
    for name in columns[0]:
        official = f"{OFFICIAL[name]:.1f}" if name in OFFICIAL else "-"
        print(f"{name:32}{official:>10}" + "".join(f"{column[name]:10.1f}" for column in columns))


def four_bit_table() -> None:
    """Largest differences of logits to dequantised weights, on the prompt of fixture A."""
    record, _ = released.fixture()
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder) / "source", Path(folder) / "packed"
        released.write_released(source, record, shards=0, tied="plain")
        released.write_tokenizer(source)
        convert(source, packed, "4bit", dtype="float32")
        print(f"{'4 bit, difference of logits':32}{'as stored':>12}{'repacked':>12}{'largest':>10}")
        for dtype in (torch.float32, torch.bfloat16):
            exact = four_bit_logits(packed, "none", dtype, False)
            columns = [float((four_bit_logits(packed, None, dtype, False) - exact).abs().max())]
            if machine.packs_for_cpu(dtype):
                repacked = four_bit_logits(packed, None, dtype, True)
                columns.append(float((repacked - exact).abs().max()))
            shown = [f"{value:.2g}" for value in columns] + ["-"] * (2 - len(columns))
            shown.append(f"{float(exact.abs().max()):.3g}")
            print(f"{dtype!s:32}{shown[0]:>12}{shown[1]:>12}{shown[2]:>10}")


def four_bit_logits(
    folder: Path, quantization: Quantization | None, dtype: torch.dtype, repacks: bool
) -> torch.Tensor:
    """(T, V) logits of the prompt that a checkpoint in 4 bit is asked.

    Args:
        folder: of the checkpoint.
        quantization: "none" for its dequantised weights.
        dtype: that it computes in.
        repacks: whether bitsandbytes may repack the weights for the CPU.
    """
    model, _ = loading.load(folder, quantization, device="cpu", dtype=dtype)
    set_cpu_packing(model, repacks)
    bench = FixtureBench(model)
    with torch.inference_mode():
        return model(bench.prompt[None], bench.pixels).logits[0].float()


def model_table(folder: str, image: str | None, repeats: int) -> None:
    start = time.perf_counter()
    model = groma.load(folder)
    rows = {"load": 1000 * (time.perf_counter() - start)}
    picture = Image.open(image) if image else Image.effect_noise((448, 448), 60).convert("RGB")
    rows["encode picture"] = measure(lambda: model.encode_image(picture), repeats)
    for detail in (2, 3):
        look = partial(model.encode_image, picture, detail=detail)
        rows[f"encode picture, detail {detail}"] = measure(look, repeats)
    encoded = model.encode_image(picture)
    chat = model.chat(encoded, max_new_tokens=64)
    start = time.perf_counter()
    stamps = [time.perf_counter() for _ in chat.stream("Describe the picture.")]
    rows["first token after that"] = 1000 * (stamps[0] - start)
    if len(stamps) > 2:
        rows["decode, per token"] = 1000 * (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    start = time.perf_counter()
    next(chat.stream("And what else is there?"))
    rows["second turn, first token"] = 1000 * (time.perf_counter() - start)
    print(f"{folder}, {torch.get_num_threads()} threads, {model.model.dtype}, ms")
    for name, value in rows.items():
        print(f"{name:32}{value:10.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a checkpoint folder instead of fixture A's sizes")
    parser.add_argument("--image", help="picture for --model; noise by default")
    parser.add_argument("--threads", type=int, help="1 for fixture A, else all cores, by default")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    if args.threads or not args.model:
        torch.set_num_threads(args.threads or 1)
    if args.model:
        model_table(args.model, args.image, args.repeats)
    else:
        fixture_table(args.repeats)
        four_bit_table()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
