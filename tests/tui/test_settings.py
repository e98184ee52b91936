"""What is remembered between starts."""

import json
from pathlib import Path

from tleg_tui.settings import Settings, load_settings, store_settings


def test_settings_are_kept_and_damage_is_forgiven(tmp_path: Path) -> None:
    tmp_path = tmp_path / "kept"
    settings = Settings(theme="nord", budget={"parameters": "20M"}).with_recent("data", "a").with_recent("data", "b")
    assert settings.data == ("b", "a")
    assert settings.with_recent("data", "a").data == ("a", "b")
    assert store_settings(settings, tmp_path)
    assert load_settings(tmp_path) == settings
    file = tmp_path / "workbench.json"
    for text in ("", "[]", "{", '{"theme": 3, "data": "x", "budget": [], "greeted": "no", "later": 1}'):
        file.write_text(text)
        assert load_settings(tmp_path) == Settings()
    file.write_text(json.dumps({"theme": "nord", "data": ["x", 3]}))
    assert load_settings(tmp_path) == Settings(theme="nord", data=("x",))
    assert not store_settings(settings, tmp_path / "workbench.json" / "below")  # No folder can be there.
    assert [path.name for path in tmp_path.iterdir()] == ["workbench.json"]


def test_more_than_a_dozen_recent_values_are_not_kept() -> None:
    settings = Settings()
    for number in range(30):
        settings = settings.with_recent("learngenes", str(number))
    assert settings.learngenes == tuple(str(number) for number in range(29, 17, -1))
