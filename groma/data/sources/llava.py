"""Conversations about whole pictures: LLaVA Instruct, ShareGPT4V, ShareGPT4V-PT (paper Tab. 1)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groma.data.records.index import JsonItems
from groma.data.sample import QA, GroundedSample
from groma.data.sources.groma_instruct import GPT, HUMAN, ROLES, parse_item
from groma.data.sources.items import BrokenItem, Items, picture_size, words


def open_conversations(annotations: Path, cache: Path | None) -> Items:
    """Questions and answers without boxes."""
    return Items(JsonItems(annotations, cache), parse, "conversation")


def open_groma_instruct(annotations: Path, cache: Path | None) -> Items:
    """Grounded conversations (paper 4)."""
    return Items(JsonItems(annotations, cache), parse_grounded, "conversation")


def parse_grounded(record: tuple[Mapping[str, Any], int]) -> GroundedSample:
    """One item of a Groma-Instruct file."""
    return parse_item(record[0])


def parse(record: tuple[Mapping[str, Any], int]) -> GroundedSample:
    """One conversation; the mark `<image>` is taken out of it, for the template has its own.

    Raises:
        BrokenItem: if it has no picture, does not alternate, or an answer is missing.
    """
    item, _ = record
    if "image" not in item:
        raise BrokenItem("text without picture")
    said = item["conversations"]
    roles = [ROLES.get(message["from"]) for message in said]
    if not said or roles != [HUMAN, GPT] * (len(said) // 2):
        raise BrokenItem("questions and answers that do not alternate")
    texts = [message["value"].replace("<image>", "").strip() for message in said]
    if not all(texts):
        raise BrokenItem("an empty text")
    turns = tuple(
        QA((question,), (answer,), grounding=False)
        for question, answer in zip(texts[::2], texts[1::2], strict=True)
    )
    return GroundedSample(words(item["image"]), picture_size(item), (), (), turns)
