"""What other programs and people write: text, JSON, identifiers and names, in one form.

Every reader of files and every border of the application comes here, so that two identifiers are
the same everywhere or nowhere, and no text can stop a run or a page.
"""

import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Literal

_UNKNOWN = "\ufffd"  # stands where a character was that is none

_HALF = re.compile("[\ud800-\udfff]")
_NO_UTF8 = re.compile("[\udc80-\udcff]")
"""What stands for bytes in the name of a file."""
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(?P<broken>u[dD][89a-fA-F]\w\w|u0000)|.)", re.S
)
"""An escape of JSON; `broken` is half a character, or NUL."""


def clean_text(text: str) -> str:
    """Text in which every character is one: halves of characters (lone surrogates) and NUL go."""
    if _HALF.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", _UNKNOWN)


def clean_json(text: str) -> str:
    """JSON text whose strings hold no halves of characters and no NUL, escaped ones included."""
    if "\\u" in text:
        text = _ESCAPE.sub(lambda found: r"\ufffd" if found["broken"] else found[0], text)
    return clean_text(text)


def decode_text(data: bytes, errors: Literal["strict", "replace"] = "strict") -> str:
    """Text of a file: UTF-8, or UTF-16 or UTF-32, with or without a mark at its start.

    Raises `UnicodeDecodeError` if it is none of them, and this is not to be passed over.
    """
    return data.decode(json.detect_encoding(data), errors).removeprefix("\ufeff")


def load_json(data: bytes | str) -> Any:
    """The value of JSON text, without broken characters.

    Raises `ValueError` if it is no JSON, or nested too deeply.
    """
    text = decode_text(data) if isinstance(data, bytes) else data
    try:
        return json.loads(clean_json(text))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def load_toml(data: bytes) -> dict[str, Any]:
    """The tables of TOML text; raises `ValueError` if it is none, or nested too deeply."""
    try:
        return tomllib.loads(decode_text(data))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def split_lines(text: str) -> Iterator[str]:
    r"""Lines of text that are not blank; they end at \n alone, as those of JSON lines do."""
    return (line.removesuffix("\r") for line in text.split("\n") if line.strip())


def to_identifier(value: Any) -> int | str | None:
    """What an identifier is compared by: 7, 7.0, "7" and " 7 " are the same.

    A whole number where it is one, else text; None where it is neither.
    """
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else str(value)
    if isinstance(value, str):
        value = clean_text(value).strip()
        is_number = re.fullmatch("-?(0|[1-9][0-9]{0,18})", value)
        return int(value) if is_number else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def read_text(value: Any) -> str:
    """Text with single spaces, or a number as text; empty where there is neither."""
    if isinstance(value, int | float):
        value = to_identifier(value)
        return "" if value is None else str(value)
    return " ".join(clean_text(value).split()) if isinstance(value, str) else ""


def printable(text: str) -> str:
    r"""Text that can be written; bytes of a name that are no UTF-8 are written as `\xe9`."""
    return clean_text(_NO_UTF8.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:x}", text))


def printable_name(path: PurePath) -> str:
    """What a file is called, with slashes; see `printable`."""
    return printable(path.as_posix())
