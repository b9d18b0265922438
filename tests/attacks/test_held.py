"""Attacks that never worked, and are not to begin to."""

import gc
import json
import socket
import stat
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from PIL import Image

from app.shared.tickets import Tickets
from groma.instruction_sets.readers.unpacking import Limits, unpack
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma
from tests.attacks.caller import SETTINGS, Caller
from tests.paths import ROOT

REPOSITORY = ROOT


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "README.md",
            "../README.md",
            "//etc/passwd",
            "~/.bashrc",
            "file:///etc/passwd",
        ),
        *("..%2f..%2fetc%2fpasswd", "..\\..\\etc\\passwd", "/proc/self/environ", "/dev/zero"),
        str(REPOSITORY / "README.md"),
        str(REPOSITORY / "assets" / "examples" / ".." / ".." / "README.md"),
    ],
)
def test_no_file_of_the_server_is_read(caller: Caller, path: str) -> None:
    assert caller.http.get(f"{caller.api}file={path}").status_code in (403, 404)
    forged = {"path": path, "meta": {"_type": "gradio.FileData"}}
    name, _ = caller.call("ask", forged, "What is this?", [], {})[-1]
    assert name == "error"
    canvas = {"image": forged, "regions": []}
    said = json.dumps(caller.fire(caller.canvas, canvas, *SETTINGS, tab="thief"))
    assert "root:" not in said
    assert "groma-box" not in said


def test_nothing_is_fetched_for_a_visitor(caller: Caller) -> None:
    """SSRF: a service that only this machine reaches."""
    visits: list[str] = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            visits.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Inner)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/secret"
    try:
        for place in ("path", "url"):
            forged = {"path": "x.png", "meta": {"_type": "gradio.FileData"}} | {place: address}
            assert caller.call("ask", forged, "What?", [], {})[-1][0] == "error"
            caller.fire(caller.canvas, {"image": forged, "regions": []}, *SETTINGS)
        for door in ("file=", "proxy=", "file/"):
            assert caller.http.get(f"{caller.api}{door}{address}").status_code >= 400
    finally:
        server.shutdown()
        server.server_close()
    assert visits == []


def slipping(name: str, mode: int = 0) -> Callable[[zipfile.ZipFile], None]:
    def write(archive: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, "../../secret.json")

    return write


def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("a.json", b"0" * 50_000_000, zipfile.ZIP_DEFLATED)


def crowd(archive: zipfile.ZipFile) -> None:
    for number in range(101):
        archive.writestr(f"{number}.json", "")


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (slipping("../out.json"), "leads out"),
        (slipping("a/../../out.json"), "leads out"),
        (slipping("..\\out.json"), "leads out"),
        (slipping("/tmp/out.json"), "absolute"),
        (slipping("C:\\out.json"), "absolute"),
        (slipping("link.json", stat.S_IFLNK | 0o777), "link or a device"),
        (slipping("a\nb.json"), "no name of a file"),
        (bomb, "grows more than"),
        (crowd, "more than 100 files"),
    ],
)
def test_zips_stay_in_their_folder_and_small(
    tmp_path: Path, write: Callable, sentence: str
) -> None:
    folder = tmp_path / "in" / "folder"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        write(archive)
    with pytest.raises(GromaError, match=sentence):
        unpack(tmp_path / "set.zip", folder, Limits(files=100))
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / "set.zip"]


@pytest.mark.parametrize("content", ["<svg onload=alert(1)>", "<html><script>alert(1)</script>"])
@pytest.mark.parametrize("ending", ["html", "svg", "js", "xhtml"])
def test_uploads_are_never_shown_as_pages(
    caller: Caller, tmp_path: Path, content: str, ending: str
) -> None:
    file = tmp_path / f"evil.{ending}"
    file.write_text(content)
    answer = caller.http.get(f"{caller.api}file={caller.upload(file)['path']}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_tickets_cannot_be_made() -> None:
    tickets = Tickets()
    real = tickets.issue("mine")
    assert tickets.read(real) == "mine"
    seal = real.rpartition(".")[2]
    for forged in (
        "",
        "mine",
        "mine.",
        f"other.{seal}",
        f"mine.{seal[:-1]}",
        f"mine.{'0' * 64}",
        "é.x",
    ):
        assert tickets.read(forged) is None
    assert Tickets().read(real) is None


def test_thirty_two_callers_are_not_mixed(caller: Caller, tmp_path: Path) -> None:
    def ask(number: int) -> tuple[list[int], str]:
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (300 + number, 200)).save(file)
        box = [[10, 10, 100 + number, 150]]
        with Caller(caller.url) as calling:
            _, (answer,) = calling.call("ask", calling.upload(file), "What is [1]?", box, {})[-1]
        (region,) = [region for span in answer["spans"] for region in span["regions"]]
        return answer["image_size"], f"{region['box'][2]:.0f}" if region["user"] else "other"

    with ThreadPoolExecutor(32) as pool:
        answers = [*pool.map(ask, range(32))]
    assert [size for size, _ in answers] == [[200, 300 + number] for number in range(32)]
    assert {right for _, right in answers} <= {"other", *(str(100 + n) for n in range(32))}
    for number, (_, right) in enumerate(answers):
        assert right in ("other", str(100 + number))


def test_pictures_of_callers_are_let_go(caller: Caller, scene: Path, groma: ScriptedGroma) -> None:
    sent = caller.upload(scene)
    for _ in range(12):
        assert caller.call("ask", sent, "Where", [], {})[-1][0] == "complete"
    gc.collect()
    alive = sum(picture() is not None for picture in groma.encoded[-12:])
    assert alive <= 1


def test_many_small_requests_leave_no_connection(caller: Caller) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", int(caller.url.rpartition(":")[2].strip("/")))):
            pass  # says nothing, and leaves
    assert caller.http.get(f"{caller.url}config").status_code == 200
    assert len(psutil.Process().net_connections()) < 100
