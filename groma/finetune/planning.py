"""What can be checked and chosen before an adapter is trained; nothing here loads a model."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from groma.chat.chat import Groma
from groma.checkpoint import load as loading
from groma.data.sample import GroundedSample
from groma.finetune.label_talks import LabelTalks, is_labelled
from groma.finetune.lora_examples import make_lessons, spell, split
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.memory_estimate import Estimate, estimate
from groma.finetune.run_folder import RunFolder
from groma.finetune.wording import Wording
from groma.model.quantization import beyond_stored
from groma.text.template import Template
from groma.tokens import TokenIds
from groma.types import GromaError

_LONGEST = 64
_LOOKS, _TALK = 3.5, 0.95
"""What the base is asked of each picture, and learning one talk along with what the base says
itself, in descriptions of a picture: measured with both embedded models on a CPU."""


def prepare(
    path: Path,
    settings: LoraSettings,
    samples: Sequence[GroundedSample],
    force: bool = False,
) -> tuple[RunFolder, Estimate]:
    """Check everything that can be checked before a run, and lay down its folder.

    Args:
        path: of the run, a folder that does not exist or is empty.
        settings: what is left open is chosen now.
        samples: whose `picture` is a file.
        force: start even what will not fit in memory.

    Returns:
        The run, ready for `train`, and what memory it is expected to take.

    Raises:
        GromaError: if the base, the settings or the samples cannot be used, or it will not fit.
    """
    settings, needed = plan(settings, samples)
    if not force:
        needed.check()
    return RunFolder.create(path, settings, samples), needed


def guess_seconds(groma: Groma, settings: LoraSettings, samples: Sequence[GroundedSample]) -> float:
    """How long a training will take, from how long one picture takes this moment.

    Args:
        groma: the base.
        settings: complete.
        samples: as for `plan`.

    Raises:
        GromaError: if the picture cannot be read.
    """
    start = time.perf_counter()
    groma.chat(samples[0].picture, max_new_tokens=_LONGEST).ask("Describe the picture.")
    look = time.perf_counter() - start
    assert settings.epochs is not None
    trained, _ = split(samples, settings.held_out, settings.seed)
    looks = _LOOKS * len({samples[i].picture for i in trained})
    return look * (looks + _TALK * settings.epochs * len(trained))


def plan(
    settings: LoraSettings, samples: Sequence[GroundedSample]
) -> tuple[LoraSettings, Estimate]:
    """Choose what settings leave open, and say what memory they will take.

    Raises:
        GromaError: as `prepare`, but for the memory.
    """
    source = loading.resolve(settings.model)
    config = loading.read_config(source)
    settings = replace(settings, quantization=beyond_stored(settings.quantization, config))
    trained, _ = split(samples, settings.held_out, settings.seed)
    labelled = [sample for sample in samples if is_labelled(sample)]
    names = {name for sample in labelled for name in sample.names}
    settings = settings.complete(config.text_config.hidden_size, len(trained), len(names))
    template = Template(loading.load_tokenizer(source), TokenIds.of(config))
    talks = LabelTalks(Wording.of(settings.model), labelled)
    lessons = make_lessons(samples, (), (), talks, 1, settings.seed)
    conversations = spell(lessons.samples, template, settings.limit)
    room = config.text_config.max_position_embeddings
    room -= config.num_image_tokens + 2 * config.max_regions
    if conversations.longest > room:
        raise GromaError(
            f"A conversation takes {conversations.longest} tokens, but the model reads {room} "
            f"besides picture and regions; allow at most that many, not {settings.limit}."
        )
    pictures = len({sample.picture for sample in samples})
    return settings, estimate(config, settings, conversations.longest, pictures)
