"""What is offered for a field."""

import os
from pathlib import Path

import pytest

from tests.tui.train.test_checks import MODELS
from tleg.recipes import Kind
from tleg_tui.train.pick import completions_of, is_picked, offers_of, walk


def test_offers(tmp_path: Path, digits_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg_tui.run_list import RunList
    from tleg_tui.settings import Settings

    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").symlink_to(digits_folder)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    settings = Settings(data=("/data/a", "fashion-mnist"), teachers=("t",))

    def texts(name: str, kind: Kind = "learn") -> list[str]:
        return [each.text for each in offers_of(name, kind, settings, RunList(), MODELS)]

    assert texts("data")[:4] == ["/data/a", "fashion-mnist", "digits", "torch/cifar10"]
    assert next(each.text for each in offers_of("data", "learn", Settings(), RunList(), MODELS)) == "fashion-mnist"
    assert texts("teacher")[:2] == ["t", "model"]
    assert texts("learngene", "finetune")[0] == "fashion-mnist"
    # What to begin with is a learngene or a trained model.
    assert texts("start") == [*texts("learngene"), "model"]
    assert is_picked("start", "learn")
    assert not is_picked("start", "finetune")  # There it is a choice among kinds of starts.
    (tmp_path / "gene.safetensors").write_bytes(b"")
    led = {Path(each.text).name: each.about for each in walk(f"{tmp_path}{os.sep}", "start")}
    assert (led["model"], led["gene.safetensors"]) == ("a folder that timm loads", "learngene")
    assert texts("model")[-1] == "levit_384"
    assert "resnet18" not in texts("architecture")
    found = walk(f"{tmp_path}{os.sep}d", "data")
    assert [(each.text, each.about, each.walk) for each in found] == [(str(tmp_path / "digits"), "train/ and val/", False)]
    assert walk("fashion", "data") == ()
    assert completions_of("architecture", settings, MODELS) == ("vit_tiny_patch16_224",)
    assert completions_of("teacher", settings, MODELS)[0] == "t"
