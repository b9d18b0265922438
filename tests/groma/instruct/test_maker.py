"""The maker from end to end: every picture ends, nothing is asked twice, what is bad is told."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from groma.cli import main as cli
from groma.data.sources.groma_instruct import parse_item
from groma.instruct.made_folder import MadeFolder, Outcome
from groma.instruction_sets.doctor.checking import check
from groma.instruction_sets.readers.reading import read_set
from groma.types import GromaError
from tests.groma.instruct import run_maker
from tests.groma.instruct.fake_server import GOOD, Reply, completion, serving, slowly, status
from tests.paths import ROOT

VISUAL_GENOME = ROOT / "tests" / "data" / "public" / "visual_genome"
FAST = ("--attempts", "2", "--timeout", "2", "--threads", "3")


def save_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        # Different, so that every request is another one.
        Image.new("RGB", (64, 48), (20 * number, 90, 90)).save(folder / f"{number:02}.png")
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def number_of(body: dict[str, Any]) -> int:
    """Which picture a request is about, by the colour between its regions."""
    pictured = [m for m in body["messages"] if isinstance(m["content"], list)]
    data = pictured[-1]["content"][0]["image_url"]["url"].partition(",")[2]
    red = Image.open(BytesIO(base64.b64decode(data))).getpixel((320, 440))[0]
    return round(red / 20)


def assert_sound(file: Path, pictures: Path) -> None:
    """The dataset doctor finds nothing that keeps an item from being learnt."""
    found = read_set(file, pictures)
    assert len(found.items) == len(read(file)) > 0
    assert [finding for finding in check(found) if finding.severity == "error"] == []


def wrong(**changes: Any) -> dict[str, Any]:
    first = {"question": "What is here?", "answer": "Two [things](1, 2)."} | changes
    return {"conversation": [first, *GOOD["conversation"][1:]]}


LATE = completion("This is never read.")
"""Comes when nobody waits for it any more."""

REPLIES: dict[int, list[Reply]] = {
    0: [completion(GOOD)],
    1: [completion(f"<think>Hm.</think>\n```json\n{json.dumps(GOOD)}\n```")],
    2: [status(429, Retry_After="0"), completion(GOOD)],
    3: [status(500), status(500)],
    4: [(200, b'{"choi', {}), completion(GOOD)],
    5: [completion("Here you are: " + json.dumps(GOOD))],
    6: [completion(wrong(answer="See [a](9)."))],
    7: [completion(wrong(answer="I see [a dog](1, 2) near region 2."))],
    8: [status(400)],
    9: [completion({"conversation": GOOD["conversation"][:1]})],
    10: [completion("Sorry"), completion(GOOD)],
    11: [LATE, completion(GOOD)],
    12: [LATE, LATE],
}
ACCEPTED = {0, 1, 2, 4, 10, 11}
REASONS = {
    3: "status 500",
    5: "not JSON alone",
    6: "no mark 9",
    7: "does not mean 2 regions",
    8: "status 400",
    9: "1 rounds",
    12: "failed 2 times: it did not answer in time",
}


def misbehave(body: dict[str, Any], before: int) -> Reply:
    replies = REPLIES[number_of(body)]
    num_drafts = len([m for m in body["messages"] if m["role"] == "assistant"]) - 2
    reply = replies[min(before + num_drafts, len(replies) - 1)]
    return slowly(3.0, reply) if reply is LATE else reply


def test_every_picture_is_accepted_or_listed_with_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pictures, save = save_pictures(tmp_path / "in", len(REPLIES)), tmp_path / "out"
    (pictures / "broken.png").write_bytes(b"no picture")
    with serving(misbehave) as server:
        assert run_maker.main(server.url, pictures, save, *FAST, "--dry-run") == 0
        assert not server.bodies
        assert re.match("About 1[234] requests", capsys.readouterr().out)
        assert run_maker.main(server.url, pictures, save, *FAST) == 0
        sent = len(server.bodies)
        items, refused = read(save / "groma_instruct.json"), read(save / "refused.json")
        assert [item["file_name"] for item in items] == [f"{n:02}.png" for n in sorted(ACCEPTED)]
        reasons = {entry["key"]: " ".join(entry["reasons"]) for entry in refused}
        assert set(reasons) == {f"{n:02}.png" for n in REASONS} | {"broken.png"}
        for number, reason in REASONS.items():
            assert reason in reasons[f"{number:02}.png"]
        assert "speaks of" in reasons["07.png"]
        assert "broken" in reasons["broken.png"] or "picture" in reasons["broken.png"]
        # Again: nothing to do, nothing sent, the same files.
        assert run_maker.main(server.url, pictures, save, *FAST) == 0
        assert len(server.bodies) == sent
        assert read(save / "groma_instruct.json") == items
        # What failed, and only that, is asked again on demand.
        failed = {entry["key"] for entry in refused if entry["status"] == "failed"}
        assert failed == {"03.png", "08.png", "12.png"}
        assert run_maker.main(server.url, pictures, save, *FAST, "--retry") == 0
        assert {number_of(body) for body in server.bodies[sent:]} == {3, 8, 12}
    for item in items:
        assert len(parse_item(item).turns) == 3
    assert_sound(save / "groma_instruct.json", pictures)


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    pictures, save = save_pictures(tmp_path / "in", 9), tmp_path / "out"
    options = ("--threads", "2")
    with serving(lambda *_: slowly(0.3, completion(GOOD))) as server:
        arguments = map(str, (server.url, pictures, save, *options))
        run = subprocess.Popen(
            [sys.executable, "-m", "tests.groma.instruct.run_maker", *arguments],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        while len(server.bodies) < 5:
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert run_maker.main(server.url, pictures, save, *options) == 0
        assert set(server.counts.values()) == {1}
        items, refused = read(save / "groma_instruct.json"), read(save / "refused.json")
        assert len(items) + len(refused) == 9
        assert 1 <= len(refused) <= 2
        assert all("on its way" in entry["reasons"][0] for entry in refused)
        # Sent again only because somebody says so.
        assert run_maker.main(server.url, pictures, save, *options, "--retry") == 0
        assert len(read(save / "groma_instruct.json")) == 9
        # One that had not left when its run was killed came once.
        assert len(server.counts) == 9
        assert len(server.bodies) <= 9 + len(refused)


def test_a_wrong_key_ends_the_run_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROMA_API_KEY", raising=False)
    pictures, save = save_pictures(tmp_path / "in", 9), tmp_path / "out"
    with serving(lambda *_: status(401)) as server:
        assert run_maker.main(server.url, pictures, save, "--threads", "1") == 2
        assert "The key in $GROMA_API_KEY is not set." in capsys.readouterr().err
        assert len(server.bodies) <= 2
    with serving(lambda *_: completion(GOOD)) as server:
        assert run_maker.main(server.url, pictures, save) == 0
        assert len(read(save / "groma_instruct.json")) == 9


def test_templates_write_offline_from_visual_genome(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "visual_genome"
    shutil.copytree(VISUAL_GENOME, folder)
    before = sorted(folder.rglob("*"))
    questions, captions = tmp_path / "questions.json", tmp_path / "captions.json"
    image_data = tmp_path / "image_data.json"
    pictures = read(folder / "image_data.json")
    image_data.write_text(json.dumps([p | {"coco_id": 70 + p["image_id"]} for p in pictures]))
    qas = [{"question": "What color is the sky?", "answer": "Grey."}]
    questions.write_text(json.dumps([{"id": n, "qas": qas} for n in (1, 2, 3)]))
    told = [{"image_id": n, "caption": "Many things float."} for n in (71, 72, 99)]
    captions.write_text(json.dumps({"annotations": told}))
    files = {"image-data": image_data, "questions": questions, "captions": captions}
    options = [str(part) for name, path in files.items() for part in (f"--{name}", path)]
    regions = ("--regions", str(folder / "region_descriptions.json"))
    runs = []
    for seed in "0123":
        save = tmp_path / f"out{seed}"
        arguments = ("instruct", str(folder), "--save", str(save), "--seed", seed)
        assert cli.main([*arguments, *regions, *options, "--rounds", "4"]) == 0
        items = read(save / "groma_instruct.json")
        assert [entry["key"] for entry in read(save / "refused.json")] == ["2"]
        assert [item["file_name"] for item in items] == ["VG_100K_2/1.jpg", "VG_100K/2.jpg"]
        assert [len(parse_item(item).turns) for item in items] == [4, 4]
        assert_sound(save / "groma_instruct.json", folder)
        runs.append(json.dumps(items))
    assert "2 accepted, 1 rejected" in capsys.readouterr().out
    # Nothing is written beside the data.
    assert sorted(folder.rglob("*")) == before
    assert len(set(runs)) == 4
    assert any("What color is the sky?" in run for run in runs)
    assert any("Many things float." in run for run in runs)


def test_a_folder_of_another_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = MadeFolder.begin(tmp_path, {"seed": 0, "rounds": (3, 5)})
    folder.add(Outcome("a", "accepted", item={}))
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"key": "b", "sta')
    again = MadeFolder.begin(tmp_path, {"seed": 0, "rounds": [3, 5]})
    assert list(again.outcomes) == ["a"]
    again.add(Outcome("a", "failed"))
    outcomes = MadeFolder.begin(tmp_path, {"seed": 0, "rounds": (3, 5)}).outcomes
    assert {key: made.status for key, made in outcomes.items()} == {"a": "failed"}
    with pytest.raises(GromaError, match="seed was 0, and now is 1"):
        MadeFolder.begin(tmp_path, {"seed": 1, "rounds": (3, 5)})
    for line, message in (("nonsense", "Line 2"), ("{}", "is damaged"), ('{"key": 3}', "damaged")):
        (tmp_path / "journal.jsonl").write_text(f'{{"run":{{"seed": 0}}}}\n{line}\n')
        with pytest.raises(GromaError, match=message):
            MadeFolder.begin(tmp_path, {"seed": 0})
    assert cli.main(["instruct", str(tmp_path), "--save", str(tmp_path), "--regions", "x"]) == 2
    assert "go together" in capsys.readouterr().err
