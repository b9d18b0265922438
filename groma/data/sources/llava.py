"""Conversations about whole pictures: LLaVA Instruct, ShareGPT4V, ShareGPT4V-PT (paper Tab. 1)."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from groma.data.records.indexed_files import JsonItems
from groma.data.sample import QA, GroundedSample
from groma.data.sources.groma_instruct import GPT, HUMAN, ROLES, parse_item
from groma.data.sources.items import BrokenItem, Samples, picture_size, words


def open_conversations(annotations: Path, cache: Path | None) -> Samples:
    """Questions and answers without boxes."""
    return Samples(JsonItems(annotations, cache), _parse, "conversation")


def open_groma_instruct(annotations: Path, cache: Path | None) -> Samples:
    """Grounded conversations (paper 4)."""
    return Samples(JsonItems(annotations, cache), _parse_grounded, "conversation")


def _parse_grounded(item: Mapping[str, Any], _: Counter[str]) -> GroundedSample:
    return parse_item(item)


def _parse(item: Mapping[str, Any], _: Counter[str]) -> GroundedSample:
    """One conversation; the mark `<image>` is taken out of it, for the template has its own."""
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
