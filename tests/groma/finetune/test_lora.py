import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groma.checkpoint import load as loading
from groma.checkpoint.adapters import WHOLE_PARTS, add_lora, attach
from groma.config import GromaConfig
from groma.finetune import jobs, lora_run
from groma.finetune.lora_examples import Collator, Rounds, spell, split
from groma.finetune.lora_objective import _HOLD, AdapterObjective, count
from groma.finetune.lora_run import train
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.memory_estimate import _count_lora, _count_parameters, estimate
from groma.finetune.planning import prepare
from groma.finetune.run_folder import RunFolder
from groma.finetune.seen_pictures import TrainingVision, _count_bytes
from groma.image import load_image, to_pixels
from groma.loop import run_log
from groma.loop.curves import LOG_NAME, PLOT_NAME, read_log
from groma.loop.saved_checkpoints import last_checkpoint
from groma.model.groma import GromaForConditionalGeneration
from groma.text.template import Template
from groma.tokens import PAD
from groma.types import GromaError
from tests import cpu_kernel, talk
from tests.groma.finetune import lora_case


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lora_case.save_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list:
    return lora_case.samples(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(autouse=True)
def no_politeness(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a polite process would take minutes to start."""
    monkeypatch.setattr(jobs, "_POLITENESS", 0)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "plot", lambda *_: None)


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[GromaForConditionalGeneration]:
    """Collects the model in memory at the end of every run of this process."""
    models = []
    write_down = lora_run._write_down

    def spy(folder, loaded, card) -> None:
        models.append(loaded.model.eval())
        write_down(folder, loaded, card)

    monkeypatch.setattr(lora_run, "_write_down", spy)
    return models


def curve(folder: Path) -> dict[int, tuple]:
    """What every step was logged with, but for what time does."""
    lines: dict[int, dict] = {}
    for row in read_log(folder):
        lines.setdefault(row["step"], {}).update(row)
    keys = ("loss", "grad_norm", "learning_rate", "eval_loss", "eval_tokens_right")
    return {step: tuple(row.get(key) for key in keys) for step, row in lines.items()}


def held_out_counts(model: GromaForConditionalGeneration, samples: list) -> torch.Tensor:
    template = Template(talk.toy.tokenizer("llama"), model.tokens)
    conversations = spell(samples, template, 1024)
    vision = TrainingVision(model, conversations.shown, learns=False, budget=0)
    members = range(len(samples))
    items = list(Rounds(conversations, [members], len(members)))
    return count(AdapterObjective(model, vision).eval(), Collator(model.tokens)(items))


@pytest.mark.parametrize("whole", [(), WHOLE_PARTS], ids=["lora", "whole parts too"])
def test_a_run_learns_and_its_adapter_is_the_model_it_ended_with(
    base: Path, samples: list, tmp_path: Path, learnt: list, whole: tuple
) -> None:
    run, _ = prepare(tmp_path / "run", lora_case.settings(base, whole=whole), samples)
    assert run.progress().state == "ready"
    assert train(run)
    rows = [row for row in read_log(run.path) if "loss" in row]
    assert rows[-1]["loss"] < rows[0]["loss"] - 1
    assert {"memory", "tokens", "samples_per_second"} <= set(rows[0])
    progress = run.progress()
    assert (progress.state, progress.step, progress.steps) == ("done", 6, 6)
    assert progress.held_out_loss is not None and progress.tokens_per_second is not None
    assert (run.path / PLOT_NAME).stat().st_size > 1000
    model, _ = loading.load(base, device="cpu", dtype="float32")
    adapted = attach(model, run.adapter)
    torch.testing.assert_close(
        held_out_counts(adapted, run.held_out), held_out_counts(learnt[0], run.held_out)
    )
    card = (run.adapter / "README.md").read_text()
    assert "| examples | 6 |" in card and "| held out | 2 |" in card
    assert f"| held-out loss, last | {progress.held_out_loss:.4g} |" in card
    assert not any(str(parent) in card for parent in base.parents[:-1])
    for part in WHOLE_PARTS:
        trained = getattr(adapted, part).state_dict()
        changed = any(
            not torch.equal(trained[f"modules_to_save.default.{name}"], weight)
            for name, weight in getattr(model, part).state_dict().items()
            if f"modules_to_save.default.{name}" in trained
        )
        assert changed == (part in whole)


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_qlora_runs_on_a_4_bit_base(
    base: Path, samples: list, tmp_path: Path, dtype: str, monkeypatch
) -> None:
    cpu_kernel.allow(monkeypatch)
    settings = lora_case.settings(
        base, quantization="4bit", dtype=dtype, checkpointing=True, epochs=2.0
    )
    run, _ = prepare(tmp_path / "run", settings, samples)
    assert train(run)
    losses = [row["loss"] for row in read_log(run.path) if "loss" in row]
    assert losses[-1] < losses[0]
    model, _ = loading.load(base, "4bit", device="cpu", dtype=dtype)
    nll, _, tokens = held_out_counts(attach(model, run.adapter), run.held_out).sum(dim=0).tolist()
    rounding = 1e-3 if dtype == "float32" else 3e-2
    assert nll / tokens == pytest.approx(run.progress().held_out_loss, rel=rounding)


@pytest.mark.usefixtures("no_plots")
def test_a_cancelled_run_resumes_as_if_it_had_not_been(
    base: Path, samples: list, tmp_path: Path
) -> None:
    settings = lora_case.settings(base)
    whole, _ = prepare(tmp_path / "whole", settings, samples)
    train(whole)
    broken, _ = prepare(tmp_path / "broken", settings, samples)
    asked = iter([False, False, False, True])
    assert not train(broken, lambda: next(asked))
    assert broken.progress().state == "cancelled"
    assert broken.progress().step == 3
    assert not broken.adapter.exists()
    half = broken.path / "checkpoint-5"
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global')
    assert last_checkpoint(broken.path) == broken.path / "checkpoint-3"
    assert broken.offered == broken.path / "checkpoint-3"
    assert attach(loading.load(base)[0], broken.offered)
    assert train(broken)
    assert curve(broken.path) == curve(whole.path)


@pytest.mark.usefixtures("no_plots")
def test_a_killed_job_resumes_with_the_same_curve_and_jobs_take_turns(
    base: Path, samples: list, tmp_path: Path
) -> None:
    settings = lora_case.settings(base, epochs=12.0, held_out=0.0)
    whole, _ = prepare(tmp_path / "whole", settings, samples)
    train(whole)
    queue = jobs.Jobs(tmp_path / "runs")
    job = queue.start(settings, samples, "dog & cat")
    with pytest.raises(GromaError, match="being trained"):
        queue.start(settings, samples)
    last = random.randint(2, 8)  # before or after the first checkpoint
    wait_for(job, lambda: job.progress().step >= last)
    process = job.process
    assert process is not None and job.progress().state == "training"
    assert jobs.Jobs(tmp_path / "runs").current == job
    lora_run.os.kill(process, 9)
    wait_for(job, lambda: queue.current is None)
    stopped = job.progress()
    assert stopped.state == "interrupted" and last <= stopped.step < stopped.steps == 36
    queue.resume(job)
    wait_for(job, lambda: job.progress().state == "done")
    assert curve(job.path) == curve(whole.path)
    wait_for(job, lambda: queue.current is None)
    with pytest.raises(GromaError, match="nothing to resume"):
        queue.resume(job)
    assert [run.name.startswith("dog-cat-") for run in queue.runs] == [True]


def wait_for(job: RunFolder, condition) -> None:
    end = time.monotonic() + 900
    while not condition():
        output = job.path / "output.txt"
        assert time.monotonic() < end, output.read_text() if output.exists() else "no output"
        assert job.progress().state != "failed", job.progress().message
        time.sleep(0.1)


def test_a_job_is_cancelled_and_its_failure_is_told(
    base: Path, samples: list, tmp_path: Path
) -> None:
    """Two things in one process start: it is told to stop while it loads, then cannot load."""
    queue = jobs.Jobs(tmp_path / "runs")
    job = queue.start(lora_case.settings(base, epochs=500.0), samples)
    wait_for(job, lambda: job.process is not None)
    queue.cancel(job)
    wait_for(job, lambda: queue.current is None)
    assert job.progress().state == "cancelled"
    broken = json.loads((job.path / "settings.json").read_text()) | {"model": str(tmp_path)}
    (job.path / "settings.json").write_text(json.dumps(broken))
    with pytest.raises(GromaError, match=r"no config\.json"):
        train(job)
    assert job.progress().state == "failed"
    assert "no config.json" in job.progress().message


def test_what_is_kept_of_pictures_changes_nothing(samples: list) -> None:
    model = talk.tiny_groma().model
    conversations = spell(samples, Template(talk.toy.tokenizer("llama"), model.tokens), 1024)
    kept = {}
    for learns in (False, True):
        for budget in (0, 10**9):
            vision = TrainingVision(model, conversations.shown, learns, budget)
            sights = [vision.encode(i) for i in (0, 1, 0, 1, 2)]
            kept[learns, budget] = sights
            assert (vision.num_bytes > 0) == (budget > 0)
            assert sights[0].image_tokens.requires_grad == learns
    for sights in kept.values():
        for sight, expected in zip(sights, kept[False, 0], strict=True):
            assert torch.equal(sight.image_tokens, expected.image_tokens)
            assert torch.equal(sight.regions.tokens, expected.regions.tokens)
    assert _count_bytes(kept[False, 0][0]) > kept[False, 0][0].image_tokens.nbytes


def test_the_loss_is_the_models_own(samples: list) -> None:
    """Reading what was seen before equals the one forward pass of every other stage."""
    model = talk.tiny_groma().model
    conversations = spell(samples[3:4], Template(talk.toy.tokenizer("llama"), model.tokens), 1024)
    batch = Collator(model.tokens)([Rounds(conversations, [[0]], 1)[0]])
    vision = TrainingVision(model, conversations.shown, False, 10**9)
    loss = AdapterObjective(model, vision).eval()(**batch)["loss"]
    shown = conversations.shown[0]
    picture = to_pixels(load_image(shown.picture), model.config.image_size).pixels[None]
    expected = model(
        batch["input_ids"], picture, [shown.refer], [shown.ground], labels=batch["labels"]
    )
    torch.testing.assert_close(loss, expected.loss)


def test_in_its_own_talk_a_model_is_held_to_its_base(samples: list) -> None:
    """Nothing is learnt from what it said: its base's probabilities stay, everywhere."""
    model, base = talk.tiny_groma().model, talk.tiny_groma().model
    conversations = spell(samples[2:4], Template(talk.toy.tokenizer("llama"), model.tokens), 1024)
    first, second = Rounds(conversations, [[0, 1]], 2)
    collate = Collator(model.tokens)
    batch = collate([first, second])
    vision = TrainingVision(model, conversations.shown, False, 10**9)

    @contextmanager
    def as_base() -> Iterator[None]:
        learnt, model.language_model = model.language_model, base.language_model
        yield
        model.language_model = learnt

    def loss(*rehearsed: int, of: dict = batch) -> torch.Tensor:
        return AdapterObjective(model, vision, rehearsed, as_base).eval()(**of)["loss"]

    assert loss(0, 1).item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.language_model.lm_head.weight.mul_(1.5)
    read = AdapterObjective(model, vision).eval().read(**batch)
    with as_base():
        before = AdapterObjective(model, vision).eval().read(**batch)
    real = read.input_ids != model.tokens[PAD]
    own, held = (output.logits[real].log_softmax(dim=-1) for output in (read, before))
    apart = (held.exp() * (held - own)).sum(dim=1).mean()
    torch.testing.assert_close(loss(0, 1), _HOLD * apart)
    one_held, other_learnt = loss(0, of=collate([first])), loss(0, of=collate([second]))
    torch.testing.assert_close(loss(0), one_held + other_learnt)


def test_every_round_reads_everything_once_and_nothing_held_out(samples: list) -> None:
    ten = [replace(samples[0], picture=f"{i}.png") for i in range(10)]
    members, held_out = split(ten, 0.2, seed=3)
    assert sorted(members + held_out) == list(range(10)) and len(held_out) == 2
    tokens = talk.groma().template.tokens
    conversations = spell(samples * 2, Template(talk.toy.tokenizer("llama"), tokens), 1024)
    rounds = Rounds(conversations, [members], 24, seed=1)
    numbers = [rounds[i]["number"] for i in range(24)]
    for i in range(3):
        assert sorted(numbers[8 * i : 8 * i + 8]) == members
    assert numbers[:8] != numbers[8:16]
    many = [replace(samples[0], picture=f"{i}.png") for i in range(100)]
    assert [len(split(many[:n], 0.1, 0)[1]) for n in (1, 2, 16, 100)] == [0, 1, 2, 10]
    assert len(split(many[:3], 0.9, 0)[1]) == 2


def test_pictures_are_held_out_as_a_whole_where_there_are_enough(samples: list) -> None:
    several = [replace(samples[0], picture=f"{i // 2}.png") for i in range(12)]
    for seed in range(8):
        members, held_out = split(several, 0.1, seed)
        assert sorted(members + held_out) == list(range(12)) and len(held_out) == 2
        assert not {i // 2 for i in members} & {i // 2 for i in held_out}
        few = [replace(sample, picture="one.png") for sample in several]
        assert [len(part) for part in split(few, 0.1, seed)] == [11, 1]
    assert split(several, 0.0, 1) == (list(range(12)), [])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rank": 0}, "rank must be from 1 to 256"),
        ({"lr": float("nan")}, "lr must be"),
        ({"epochs": -1.0}, "epochs must be"),
        ({"held_out": 1.0}, "held_out must be"),
        ({"whole": ["image_encoder"]}, "whole"),
        ({"quantization": "3bit"}, "quantization"),
        ({"rnak": 4}, "did you mean rank"),
        ({"rank": "many"}, "no whole number"),
    ],
)
def test_impossible_settings_are_refused_in_words(change: dict, sentence: str) -> None:
    with pytest.raises(GromaError, match=sentence):
        LoraSettings.from_dict({"model": "x"} | change)


def test_settings_survive_their_file_and_open_ones_are_chosen() -> None:
    settings = LoraSettings("x", whole=("projector",)).complete(width=4096, examples=16)
    assert LoraSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert (settings.alpha, settings.epochs, settings.lr) == (32.0, 20.0, 2e-4)
    assert settings.checkpointing
    narrow = LoraSettings("x", epochs=2.0).complete(width=576, examples=5000)
    assert narrow.epochs == 2 and narrow.lr == 1e-3 and not narrow.checkpointing


def test_the_estimate_counts_what_is_there() -> None:
    model = talk.tiny_groma().model
    sizes = _count_parameters(model.config)
    assert sum(sizes.values()) == sum(weight.numel() for weight in model.parameters())
    adapted = add_lora(model, rank=6, alpha=12)
    learning = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert _count_lora(model.config, 6) == learning


def test_more_takes_more_and_what_does_not_fit_is_refused(base: Path) -> None:
    config = talk.groma().config
    settings = lora_case.settings(base).complete(48, 6)
    plain = estimate(config, settings, 100, 4).total
    for more in ({"rank": 64}, {"batch_size": 8}, {"whole": ("region_encoder",)}):
        assert estimate(config, replace(settings, **more), 100, 4).total > plain
    assert estimate(config, settings, 900, 4).total > plain
    assert estimate(config, replace(settings, checkpointing=True), 100, 4).total < plain
    small = replace(estimate(config, settings, 100, 4), available=10**6)
    with pytest.raises(GromaError, match=r"needs about .* GB .*free on cpu; less is needed with"):
        small.check()


def test_qlora_of_the_released_size_fits_a_card_of_12_gb() -> None:
    config = GromaConfig(
        vision_config={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 518,
            "patch_size": 14,
        },
        text_config={"vocab_size": 32114, "hidden_size": 4096, "intermediate_size": 11008},
        max_regions=100,
    )
    settings = LoraSettings("x", quantization="4bit", device="cpu", dtype="bfloat16")
    needed = estimate(config, settings.complete(4096, 16), 1024 - 256 - 200, 16)
    assert 5e9 < needed.total < 12e9
    assert 3.2e9 < needed.parts["language model"] < 4.2e9


def test_a_set_that_cannot_be_learnt_is_refused_before_the_start(
    base: Path, samples: list, tmp_path: Path
) -> None:
    settings = lora_case.settings(base)
    with pytest.raises(GromaError, match="no examples"):
        prepare(tmp_path / "run", settings, [])
    with pytest.raises(GromaError, match=r"Example 1 .*no question"):
        prepare(tmp_path / "run", settings, [replace(samples[0], turns=())])
    with pytest.raises(GromaError, match="first answer of example 1"):
        prepare(tmp_path / "run", replace(settings, limit=32), samples)
    assert not (tmp_path / "run").exists()
    run, _ = prepare(tmp_path / "run", settings, samples)
    with pytest.raises(GromaError, match="exists already"):
        prepare(tmp_path / "run", settings, samples)
    with run.occupied(), pytest.raises(GromaError, match="Another process"):
        train(run)
    assert not run.adapter.exists() and not (run.path / LOG_NAME).exists()


def test_one_bar_goes_over_looking_and_learning(base: Path, samples: list, tmp_path: Path) -> None:
    run, _ = prepare(tmp_path / "run", lora_case.settings(base), samples)
    assert run.progress().share == 0
    shares = []
    with run.occupied():
        run.write_state("starting")
        for looked in (1, 2, 4):
            run.note_looked(looked, 4)
            progress = run.progress()
            shares.append(progress.share)
            assert progress.seconds_left is not None and progress.seconds_left >= 0
        run.write_state("training", steps=10)
        shares.append(run.progress().share)
        for step in (5, 10):
            with (run.path / LOG_NAME).open("a") as log:
                log.write(json.dumps({"step": step, "loss": 1.0, "seconds": float(step)}) + "\n")
            shares.append(run.progress().share)
    assert 0 < shares[0] < shares[1] < shares[2] == shares[3] < shares[4] < shares[5] == 1
