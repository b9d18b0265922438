"""Many questions from a file: OpenAI's batch format, answered together and resumable."""

import json
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from tqdm import tqdm

from groma.at_once import as_finished
from groma.foreign import decode_text, load_json, split_lines
from groma.serve.engine import Engine
from groma.serve.openai_messages import (
    ChatRequest,
    completion,
    error,
    new_id,
    read_data_url,
    read_question,
    usage_of,
)
from groma.types import GromaError

_URL = "/v1/chat/completions"


class BatchLine(BaseModel):
    """One request of a batch."""

    custom_id: str
    url: str = _URL
    body: dict[str, Any]


def answer_batch(engine: Engine, requests: Path, answers: Path) -> int:
    """Answer every request of a file that has no answer yet.

    Pictures are data URLs, or paths from the folder of `requests`. What is wrong with a request is
    its answer; the others go on.

    Args:
        engine: answers.
        requests: lines as OpenAI's batch files have them.
        answers: lines are added, each as soon as it is known and in that order.

    Returns:
        How many were answered now.

    Raises:
        GromaError: if a file cannot be read, or a line has no id or one that another has.
    """
    lines = _read_requests(requests)
    known = _known(answers)
    left = [line for line in lines if line.custom_id not in known]
    with answers.open("a", encoding="utf-8", newline="\n") as file:
        answer = partial(_answer, engine, folder=requests.parent)
        ready = as_finished(answer, left, engine.at_once)
        done = len(lines) - len(left)
        for line in tqdm(ready, total=len(lines), initial=done, unit="answer"):
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
    return len(left)


def _answer(engine: Engine, line: BatchLine, folder: Path) -> dict[str, Any]:
    try:
        status, body = 200, _complete(engine, line, folder)
    except (GromaError, ValidationError) as mistake:
        sentence = str(mistake)
        if isinstance(mistake, ValidationError):
            sentence = f"The body is wrong: {mistake.errors()[0]['msg']}."
        status, body = 400, error(sentence)
    response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
    head = {"id": f"batch_req_{uuid.uuid4().hex}", "custom_id": line.custom_id}
    return head | {"response": response, "error": None}


def _complete(engine: Engine, line: BatchLine, folder: Path) -> dict[str, Any]:
    if line.url != _URL:
        raise GromaError(f"Only {_URL} is answered here.")
    request = ChatRequest.model_validate(line.body)
    settings, question = request.settings(), read_question(request.messages)
    picture = _picture(question.picture, folder)
    with engine.talk(picture, question.before, settings.detail) as chat:
        *_, reply = engine.stream(chat, question.text, question.drawn, settings)
        if request.masks:
            reply = engine.masked(chat, picture)
        return completion(new_id(), request.model, reply, usage_of(chat))


def _picture(url: str, folder: Path) -> bytes:
    if url.startswith("data:"):
        return read_data_url(url)
    if "://" in url:
        raise GromaError("Pictures are not fetched; give a path or data:image/…;base64,….")
    try:
        return (folder / url).read_bytes()
    except OSError as mistake:
        raise GromaError(f"The picture cannot be read: {mistake.strerror}.") from mistake


def _read_requests(path: Path) -> list[BatchLine]:
    lines: list[BatchLine] = []
    try:
        for text in split_lines(decode_text(path.read_bytes())):
            lines.append(BatchLine.model_validate(load_json(text)))
    except ValidationError as mistake:
        first = mistake.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        sentence = f"{path}, request {len(lines) + 1}: {where}: {first['msg']}."
        raise GromaError(sentence) from mistake
    except ValueError as mistake:
        raise GromaError(f"{path}, request {len(lines) + 1} is no JSON: {mistake}.") from mistake
    ids = [line.custom_id for line in lines]
    if len(set(ids)) < len(ids):
        twice = next(each for at, each in enumerate(ids) if each in ids[:at])
        raise GromaError(f"{path} has two requests with the custom_id {twice!r}.")
    return lines


def _known(path: Path) -> set[str]:
    """Ids that are answered; half a line, left by a run that was killed, is cut off."""
    if not path.exists():
        return set()
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8", newline="\n")
    try:
        return {load_json(line)["custom_id"] for line in split_lines(whole)}
    except (ValueError, KeyError, TypeError) as mistake:
        raise GromaError(f"{path} holds a line that is no answer; name another file.") from mistake
