"""A tiny base on disk and a handful of examples about two pictures."""

from dataclasses import replace
from pathlib import Path

from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.finetune.lora_settings import LoraSettings
from tests import talk

DOG_BOX, CAT_BOX = (0.1, 0.1, 0.5, 0.8), (0.55, 0.1, 0.98, 0.5)


def save_base(folder: Path, seed: int = 0) -> Path:
    groma = talk.tiny_groma(seed=seed)
    groma.model.save_pretrained(folder)
    talk.toy.tokenizer("llama").save_pretrained(folder)
    return folder


def samples(folder: Path, count: int = 6) -> list[GroundedSample]:
    """Conversations about two pictures in a folder; `count` of them, none like another."""
    files = [folder / f"{seed}.png" for seed in (0, 1)]
    for seed, file in enumerate(files):
        talk.picture(seed).save(file)
    find = QA(("Where is the dog?",), ("Here is ", Phrase("the dog", (0,)), "."))
    name = QA(("What is ", Mention(1), "?"), ("a small red ball",), grounding=False)
    sample = GroundedSample("", talk.SIZE, (DOG_BOX, CAT_BOX), ("dog", "cat"), (find, name))
    return [
        replace(
            sample,
            picture=str(files[i % 2]),
            turns=sample.turns[: 1 + i % 2] if i < 4 else sample.turns[::-1],
        )
        for i in range(count)
    ]


def settings(base: Path, **changes) -> LoraSettings:
    """Of a run of six steps that takes a second or two."""
    fields = {
        "device": "cpu",
        "dtype": "float32",
        "rank": 4,
        "lr": 0.01,
        "epochs": 3.0,
        "accumulation": 2,
        "held_out": 0.3,
        "checkpointing": False,
        "rehearsal": False,
    }
    return LoraSettings(str(base), **(fields | changes))
