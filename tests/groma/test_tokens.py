import json

import pytest

from groma import tokens
from groma.config import GromaConfig
from groma.tokens import NEW_TOKENS, REGION_NAMES, TokenIds
from tests.paths import DATA

RECORDED = DATA / "parity/fixture_a.json"


def test_there_are_114_different_tokens() -> None:
    assert len(NEW_TOKENS) == len(set(NEW_TOKENS)) == 114
    assert NEW_TOKENS[14:] == REGION_NAMES == tuple(f"<r{i}>" for i in range(100))


def test_every_named_token_is_a_new_token() -> None:
    names = [
        value for name, value in vars(tokens).items() if name.isupper() and value != NEW_TOKENS
    ]
    assert all(name in NEW_TOKENS for name in names if isinstance(name, str))


def test_ids_follow_the_base_vocabulary() -> None:
    ids = TokenIds(32000)
    assert [ids[token] for token in NEW_TOKENS] == list(range(32000, 32114))
    assert (ids[tokens.PAD], ids[tokens.GROUNDING], ids["<r99>"]) == (32000, 32013, 32113)


def test_ids_equal_the_official_ones() -> None:
    recorded = json.loads(RECORDED.read_text())
    ids = TokenIds(recorded["config_json"]["llm_cfg"]["vocab_size"])
    official = {name: i for name, i in recorded["special_token_ids"].items() if i >= ids.base}
    assert {name: ids[name] for name in official} == official
    assert [ids.region(0), ids.region(99)] == recorded["box_idx_token_ids"]


def test_ids_are_read_off_a_config() -> None:
    assert TokenIds.of(GromaConfig(text_config={"vocab_size": 434})) == TokenIds(320)


def test_region_and_its_index_are_inverses() -> None:
    ids = TokenIds(320)
    assert [ids.region_index(ids.region(i)) for i in range(100)] == list(range(100))
    assert ids.region_index(ids[tokens.GROUNDING]) is None
    assert ids.region_index(ids.region(99) + 1) is None
    assert ids.region_index(0) is None


def test_unknown_tokens_are_refused() -> None:
    with pytest.raises(KeyError, match="<r100>"):
        TokenIds(320)["<r100>"]
    with pytest.raises(IndexError):
        TokenIds(320).region(100)
