"""Who may see what: other websites, other names, other visitors, the public."""

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import launch as starter
from app.launch import REVIEW_IS_OFF, build_parser, known_hosts, launch, serve
from app.shared.models_at_hand import Models
from groma.finetune.run_folder import RunFolder
from groma.loop.curves import PLOT_NAME
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma
from tests.attacks.caller import SETTINGS, Caller
from tests.groma.finetune import lora_case

ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}|<function|<bound method|functools\.partial")
"""Of something in memory."""


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("work")
    (folder / "sent").mkdir()
    settings = lora_case.settings(lora_case.save_base(folder / "base"))
    run = RunFolder.create(folder / "runs" / "mine", settings, lora_case.samples(folder / "sent"))
    run.plot.write_bytes(next((folder / "sent").glob("*.png")).read_bytes())
    return run


@pytest.fixture(scope="session")
def workshop(groma: ScriptedGroma, run: RunFolder) -> Iterator[Caller]:
    """Of an application with a finetune tab, and a run in it."""
    options = {"finetune": run.settings, "runs": run.path.parent}
    url = launch(Models("mini", groma), prevent_thread_lock=True, quiet=True, **options)
    with Caller(url) as calling:
        yield calling


@pytest.mark.parametrize("path", ["config", "", "gradio_api/info", "gradio_api/queue/status"])
def test_another_name_for_this_machine_reads_nothing(caller: Caller, path: str) -> None:
    """DNS rebinding: the browser of the owner believes that evil.example is here."""
    port = httpx.URL(caller.url).port
    for host in (f"evil.example:{port}", "evil.example", f"localhost.evil.example:{port}", ""):
        answer = caller.http.get(caller.url + path, headers={"Host": host})
        assert answer.status_code == 400, host
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", f"LOCALHOST:{port}"):
        assert caller.http.get(caller.url + path, headers={"Host": host}).status_code == 200, host


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "x:y[z"])
@pytest.mark.parametrize("path", ["upload", "call/ask", "queue/join", "cancel", "reset"])
def test_another_website_changes_nothing(caller: Caller, path: str, origin: str) -> None:
    form = {"files": ("evil.png", b"x")}
    kept = len(list(uploads().rglob("*")))
    answer = caller.http.post(caller.api + path, files=form, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "Another website asked" in answer.json()["detail"]
    assert len(list(uploads().rglob("*"))) == kept


def uploads() -> Path:
    from gradio.utils import get_upload_folder

    return Path(get_upload_folder())


def test_its_own_page_is_no_other_website(caller: Caller) -> None:
    own = {"Origin": caller.url.rstrip("/")}
    assert caller.http.get(f"{caller.url}config", headers=own).status_code == 200


def test_owners_name_what_else_leads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GROMA_HOSTS", "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)
    parse = build_parser().parse_args
    assert known_hosts(parse([])) == ("127.0.0.1",)
    assert known_hosts(parse(["--host", "0.0.0.0"])) is None
    assert known_hosts(parse(["--share"])) is None
    named = ["--hosts", "groma.example.org, *.example.com"]
    assert known_hosts(parse(named)) == ("127.0.0.1", "groma.example.org", "*.example.com")
    monkeypatch.setenv("GROMA_HOSTS", "groma.example.org")
    assert known_hosts(build_parser().parse_args(["--host", "0.0.0.0"])) == (
        *("0.0.0.0", "groma.example.org"),
    )
    for wrong in ("http://groma.example.org", "a*b", "<b>"):
        with pytest.raises(SystemExit):
            parse(["--hosts", wrong])


def test_a_proxy_may_be_named(groma: ScriptedGroma) -> None:
    hosts = ("groma.example.org",)
    url = launch(Models("mini", groma), hosts=hosts, prevent_thread_lock=True, quiet=True)
    own = "https://groma.example.org"
    # One that passes the name on, and one that does not.
    for headers in ({"Host": "groma.example.org", "Origin": own}, {"Origin": own}):
        answer = httpx.post(f"{url}gradio_api/reset", json={"event_id": "x"}, headers=headers)
        assert answer.status_code == 200, answer.text
    evil = {"Host": "groma.example.org", "Origin": "https://evil.example"}
    assert httpx.post(f"{url}gradio_api/reset", json={}, headers=evil).status_code == 403


@pytest.mark.parametrize(
    ("arguments", "allowed", "is_shown"),
    [
        ([], "", True),
        (["--host", "0.0.0.0"], "", False),
        (["--share"], "", False),
        (["--host", "0.0.0.0"], "1", True),
        ([], "0", False),
    ],
)
def test_a_review_is_not_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    allowed: str,
    is_shown: bool,
) -> None:
    given: dict = {}
    monkeypatch.setenv("GROMA_REVIEW", allowed)
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setattr("groma.load", lambda *_, **__: ScriptedGroma())
    monkeypatch.setattr(starter, "launch", lambda *_, **options: given.update(options))
    with caplog.at_level(logging.WARNING):
        serve(build_parser().parse_args(["--review", "made", *arguments]))
    assert given["review"] == (Path("made") if is_shown else None)
    assert (REVIEW_IS_OFF in caplog.text) is not is_shown
    monkeypatch.setenv("GROMA_REVIEW", "maybe")
    with pytest.raises(GromaError, match="GROMA_REVIEW must be 1 or 0, not maybe"):
        serve(build_parser().parse_args(["--review", "made"]))


def test_of_runs_only_the_plot_is_shown(workshop: Caller, run: RunFolder) -> None:
    names = ("examples.json", "settings.json", PLOT_NAME, "state.json", "pictures")
    secrets = [run.path / name for name in names] + list((run.path / "pictures").iterdir())
    for secret in secrets:
        assert secret.exists()
        answer = workshop.http.get(f"{workshop.api}file={secret}")
        assert answer.status_code == 403, secret
    runs = next(
        each["id"]
        for each in workshop.config["dependencies"]
        if each["targets"][0][1] == "load" and len(each["outputs"]) == 3
    )
    workshop.fire(runs, tab="looks")
    said = workshop.fire(workshop.number("groma-runs", "change"), run.name, tab="looks")
    (plot,) = set(re.findall(r'"path": "([^"]+)"', json.dumps(said)))
    answer = workshop.http.get(f"{workshop.api}file={plot}")
    assert answer.content == run.plot.read_bytes()


@pytest.mark.parametrize("server", ["caller", "workshop"])
def test_nobody_is_told_where_functions_lie(
    server: str, scene: Path, request: pytest.FixtureRequest
) -> None:
    calling: Caller = request.getfixturevalue(server)
    canvas = {"image": calling.upload(scene), "regions": []}
    page = calling.http.get(calling.url).text
    said = [
        *calling.fire(calling.canvas, canvas, *SETTINGS, tab="told"),
        *calling.fire(calling.number("Question", "submit"), canvas, "What", *SETTINGS, tab="told"),
        *calling.fire(calling.number("Make files of this talk", "click"), 0, 0.5, tab="told"),
        *calling.fire(calling.number("Undo", "click"), canvas, *SETTINGS, tab="told"),
    ]
    if server == "workshop":
        # Whatever happens without anything, and what waits for a run.
        numbers = [
            each["id"]
            for each in calling.config["dependencies"]
            if each["backend_fn"] and not each["inputs"]
        ]
        said += [message for number in numbers[:8] for message in calling.fire(number, tab="told")]
        said += calling.fire(calling.number("groma-runs", "change"), None, tab="told")
        said += calling.fire(calling.number("Discard", "click"), None, None, tab="told")
    for text in (page, json.dumps(calling.config), json.dumps(said)):
        assert not ADDRESS.findall(text)
    assert [each for each in said if not each.get("success", True)] == []


def test_a_tab_without_a_name_shares_nothing(caller: Caller, scene: Path) -> None:
    canvas = {"image": caller.upload(scene), "regions": []}
    load = next(
        each["id"]
        for each in caller.config["dependencies"]
        if each["targets"][0][1] == "load" and len(each["inputs"]) > 8
    )
    for name in (None, "", "x" * 65):
        said = {"data": [canvas, "mine", "", *SETTINGS], "fn_index": load, "session_hash": name}
        answer = caller.http.post(f"{caller.api}run/x", json=said)
        assert answer.status_code == 200, answer.text
        assert "mine" not in answer.text
    asked = caller.number("Question", "submit")
    (warning,) = caller.warnings(asked, canvas, "Hi", *SETTINGS, tab="x" * 65)
    assert "does not say which browser tab" in warning
