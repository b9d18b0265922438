"""The talk alone is measured: a scene without pixels through the whole chat."""

import groma
from recipes.photographs import symbol_evaluation


def test_a_scene_is_asked_about_through_the_chat(monkeypatch):
    monkeypatch.setattr(symbol_evaluation, "KINDS", {"refuse_reading": ("refusals", 0.97)})
    monkeypatch.setattr(symbol_evaluation, "PAIRS", {})
    section = symbol_evaluation.evaluate(groma.load("groma-photo"), 1, "val", seed=2)
    values = {row.key: row.estimate.value for row in section.rows}
    assert values == {"refusals": 1, "all,_in_the_very_words": 1}
