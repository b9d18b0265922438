"""A program that talks to the application as a browser does, and says what it likes."""

import json
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import httpx

SETTINGS = [True, 0, 1, 64, 0.15, 100, 1, 0.5]
"""Of the settings panel."""


class Caller:
    """Calls one application.

    Args:
        url: of its page.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.api = f"{url}gradio_api/"
        self.http = httpx.Client(timeout=60)
        self.config = self.http.get(f"{url}config").json()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, file: Path) -> dict[str, Any]:
        """Send a file; what names it from then on."""
        with file.open("rb") as content:
            (path,) = self.http.post(f"{self.api}upload", files={"files": content}).json()
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def join(self, endpoint: str, *data: Any) -> httpx.Response:
        """Ask a named endpoint, without waiting for what it says."""
        return self._post(f"call/{endpoint}", {"data": data})

    def call(self, endpoint: str, *data: Any) -> list[tuple[str, Any]]:
        """Ask a named endpoint: all that it says, as (event, data)."""
        event = self.join(endpoint, *data).json()["event_id"]
        lines = self.http.get(f"{self.api}call/{endpoint}/{event}").text.split("\n")
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        said = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        return list(zip(names, said, strict=True))

    def fault(self, endpoint: str, *data: Any) -> str:
        """What a named endpoint has against a request."""
        event, said = self.call(endpoint, *data)[-1]
        assert event == "error", said
        return said["error"]

    def number(self, target: str, event: str) -> int:
        """Of what happens on an event of a component, known by its id, label or value."""
        known = {
            component["id"]
            for component in self.config["components"]
            if target in [component["props"].get(name) for name in ("elem_id", "label", "value")]
        }
        found = [
            dependency
            for dependency in self.config["dependencies"]
            if any([one in known and what == event for one, what in dependency["targets"]])
        ]
        # What only browsers do takes nothing.
        return max(found, key=lambda dependency: len(dependency["inputs"]))["id"]

    @property
    def canvas(self) -> int:
        """Number of what happens when a picture is chosen."""
        return next(
            dependency["id"]
            for dependency in self.config["dependencies"]
            if dependency["targets"][0][1] == "picture" and dependency["inputs"]
        )

    def fire(self, number: int, *data: Any, tab: str = "") -> list[dict[str, Any]]:
        """Have something happen on the page: all messages that a browser would get."""
        tab = tab or uuid4().hex[:10]
        said = {"data": data, "fn_index": number, "session_hash": tab}
        assert self._post("queue/join", said).status_code == 200
        lines = self.http.get(f"{self.api}queue/data", params={"session_hash": tab}).text
        return [json.loads(line[6:]) for line in lines.split("\n") if line.startswith("data: ")]

    def warnings(self, *given: Any, tab: str = "") -> list[str]:
        """Sentences that a page shows when something happens."""
        return [said["log"] for said in self.fire(*given, tab=tab) if said["msg"] == "log"]

    def _post(self, path: str, said: dict[str, Any]) -> httpx.Response:
        """Send JSON as browsers do, which escape half a character."""
        kind = {"content-type": "application/json"}
        return self.http.post(f"{self.api}{path}", content=json.dumps(said), headers=kind)
