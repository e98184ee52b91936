"""What a family would make, told without making it, for every device at once."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.family.test_file import document
from tleg.errors import InputError
from tleg.family.file import make_family
from tleg.family.plan import plan_family

DEVICES: dict[str, Any] = {
    "phone": {"max-params": "400K", "dtype": "float16"},
    "button": {"max-macs": "1K"},
    "server": {"depth": 12, "epochs": 2},
}


def test_every_device_has_its_choice_or_by_how_much_none_fits() -> None:
    plan = plan_family(make_family(document(devices=DEVICES, data="fashion-mnist")))
    phone, button, server = plan.devices
    assert phone.chosen is not None
    assert phone.chosen.row.cost.parameters <= 400_000
    assert phone.bytes == 2 * phone.chosen.row.cost.parameters
    assert phone.chosen.top1 == pytest.approx(89.51, abs=0.01)
    assert button.chosen is None
    assert "885.38 k against max-macs 1.00 k" in str(button.problem)
    assert server.chosen is not None
    assert server.chosen.row.depth == 12
    with pytest.raises(InputError, match=r"\[devices.button\]: no depth fits"):
        plan.require()


def test_a_learngene_that_is_to_be_learned_leaves_it_open() -> None:
    family = make_family(document(learngene=None, learn={"architecture": "vit_tiny_patch16_224"}))
    plan = plan_family(family)
    assert (plan.learngene, plan.learned, plan.measured) == (None, "vit_tiny_patch16_224", None)
    assert [(each.chosen, each.problem) for each in plan.devices] == [(None, None)]
    plan.require()


def test_programs_read_it(run_cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(
        'data = "x"\nlicense = "mit"\nlearngene = "fashion-mnist"\n[devices.phone]\nmax-params = "400K"\n'
        '[devices.button]\nmax-macs = "1K"\n'
    )
    done = run_cli("family", file, "--dry-run", "--json")
    assert done.code == 2
    phone, button = json.loads(done.stdout)["devices"]
    assert (phone["depth"], phone["problem"]) == ("7", None)
    assert button["depth"] is None
    assert button["problem"] in done.stderr
    plain = run_cli("family", file, "--dry-run")
    assert (plain.code, plain.stdout) == (2, "")


def test_a_depth_that_was_never_trained_says_so(run_cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    text = 'data = "x"\nlicense = "mit"\nlearngene = "fashion-mnist"\n[devices.bare]\ndepth = 2\n'
    file.write_text(f"{text}[devices.tuned]\ndepth = 2\nepochs = 3\n[devices.deep]\ndepth = 3\n")
    lines = run_cli("family", file, "--dry-run").stdout.splitlines()
    assert lines == [
        "bare  depth 2, onnx in float32; not trained below depth 3: fine-tune it first",
        "tuned  depth 2, onnx in float32, 3 epochs of fine-tuning",
        "deep  depth 3, onnx in float32",
    ]
    bare, tuned, deep = json.loads(run_cli("family", file, "--dry-run", "--json").stdout)["devices"]
    assert (bare["doubt"], tuned["doubt"], deep["doubt"]) == ("not trained below depth 3: fine-tune it first", None, None)


def test_accuracies_on_other_images_choose_nothing(run_cli: Any, tmp_path: Path) -> None:
    plan = plan_family(make_family(document(devices={"phone": {"max-params": "460K"}}, data="characters")))
    assert (plan.measured, plan.unused) == (None, "10,000 images of fashion-mnist validation")
    phone = plan.devices[0]
    assert phone.chosen is not None
    # The deepest that fits, where accuracies on fashion-mnist would choose depth 8.
    assert (phone.chosen.row.depth, phone.chosen.top1) == (9, None)
    file = tmp_path / "devices.toml"
    text = 'license = "mit"\nlearngene = "fashion-mnist"\n[devices.phone]\nmax-params = "460K"\n'
    file.write_text(f'data = "characters"\n{text}')
    done = run_cli("family", file, "--dry-run")
    assert done.stdout == "phone  depth 9, onnx in float32\n"
    assert done.stderr == (
        "accuracy on characters is measured first (the learngene has it on 10,000 images of fashion-mnist validation "
        "alone), and may choose other depths than these\n"
    )
    file.write_text(f'data = "fashion-mnist"\n{text}')
    done = run_cli("family", file, "--dry-run")
    assert done.stdout == "phone  depth 8, onnx in float32, 89.53 % without fine-tuning\n"
    assert done.stderr == "accuracy is that on 10,000 images of fashion-mnist validation, as the learngene has it\n"
