"""Which depth a device gets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_learngene
from tests.family.test_file import document
from tests.latency.test_device import profile
from tleg.errors import InputError
from tleg.family.choose import Accuracies, choose, depths_of
from tleg.family.file import make_family
from tleg.family.make import FamilyMaker
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.profile import Depth
from tleg.serialize import encode, to_json

SIZE = (32, 32)
# Deeper is better up to depth 5, and not further.
KNOWN: Accuracies = {(SIZE, depth): top1 for depth, top1 in {1: 20.0, 2: 60.0, 3: 80.0, 4: 85.0, 5: 86.0, 6: 85.5}.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> LearngeneFile:
    path = tmp_path_factory.mktemp("choose") / "it.safetensors"
    make_learngene(auxiliary_depth=6, sampled_depths=(3, 4, 5, 6)).save(path)
    return read_file(path)


def chosen(file: LearngeneFile, known: Accuracies, **wanted: Any) -> Depth:
    family = make_family(document(devices={"phone": wanted}))
    return choose(family, file, family.devices[0], known).row.depth


def macs(file: LearngeneFile, depth: int) -> str:
    return str(file.header.cost.at(depth).macs)


def test_depths_end_where_the_learngene_was_trained(file: LearngeneFile) -> None:
    assert depths_of(make_family(document()), file.header) == (1, 2, 3, 4, 5, 6)
    assert depths_of(make_family(document(depths="2,9")), file.header) == (2, 9)


def test_the_most_accurate_that_fits(file: LearngeneFile) -> None:
    assert chosen(file, KNOWN) == 5
    assert chosen(file, KNOWN, **{"max-macs": macs(file, 4)}) == 4
    assert chosen(file, KNOWN, depth=2) == 2
    assert chosen(file, KNOWN, part=0.5) == 3
    assert chosen(file, {**KNOWN, (SIZE, 3): 86.0}) == 3  # Of equal ones the cheapest.


def test_the_deepest_where_accuracy_is_not_known(file: LearngeneFile) -> None:
    assert chosen(file, {}) == 6
    assert chosen(file, {}, **{"max-macs": macs(file, 4)}) == 4
    assert chosen(file, KNOWN, epochs=2) == 6  # What fine-tuning reaches is not known before.


def test_the_cheapest_that_is_accurate_enough(file: LearngeneFile) -> None:
    assert chosen(file, KNOWN, top1=75) == 3
    with pytest.raises(InputError, match=r"90 % top-1 are wanted, and the best that fits, depth 4, has 85.00 %"):
        chosen(file, KNOWN, top1=90, **{"max-macs": macs(file, 4)})
    assert chosen(file, KNOWN, top1=90, epochs=1) == 6


def test_a_file_of_terms_is_as_large_at_any_depth(file: LearngeneFile) -> None:
    two = 4 * file.header.cost.at(2).parameters
    assert file.parameters == file.header.cost.at(2).parameters  # A base and a slope.
    assert chosen(file, KNOWN, **{"max-size": str(two)}) == 2
    assert chosen(file, KNOWN, export="onnx-compact", **{"max-size": str(two)}) == 5
    assert chosen(file, KNOWN, export="onnx-elastic", **{"max-size": str(two)}) == 5
    assert chosen(file, KNOWN, dtype="float16", **{"max-size": str(two)}) == 4
    with pytest.raises(
        InputError, match=r"\[devices.phone\]: no depth fits: the weights in its file take .* against max-size 1.0 kB"
    ):
        chosen(file, KNOWN, **{"max-size": "1KB"})
    with pytest.raises(InputError, match="no depth fits"):
        chosen(file, KNOWN, export="onnx-elastic", **{"max-size": str(two - 1)})


def test_what_nothing_meets_is_said_with_by_how_much(file: LearngeneFile) -> None:
    with pytest.raises(InputError, match=r"\[devices.phone\]: no depth fits: depth 1 takes .* against max-macs 1"):
        chosen(file, KNOWN, **{"max-macs": "1"})


def test_latency_on_a_device(file: LearngeneFile, tmp_path: Path) -> None:
    measured = replace(profile(d1=0.002, d6=0.007), learngene=file.header.sha256, image_size=SIZE)
    (tmp_path / "pi.json").write_text(to_json(encode(measured)))
    family = make_family(document(devices={"pi": {"profile": str(tmp_path / "pi.json"), "max-latency": "4.5ms"}}))
    found = choose(family, file, family.devices[0], KNOWN)
    assert found.row.depth == 3
    assert found.row.latency == pytest.approx(0.004)
    assert found.on is not None
    (tmp_path / "other.json").write_text(to_json(encode(replace(measured, learngene="00"))))
    family = make_family(document(devices={"pi": {"profile": str(tmp_path / "other.json")}}))
    with pytest.raises(InputError, match=r"\[devices.pi\]: the device profile is of another learngene"):
        choose(family, file, family.devices[0], KNOWN)


def test_latency_is_that_of_the_number_type_of_the_device(file: LearngeneFile, tmp_path: Path) -> None:
    measured = replace(profile(d1=0.002, d6=0.007), learngene=file.header.sha256, image_size=SIZE, dtype="int8-dynamic")
    (tmp_path / "pi.json").write_text(to_json(encode(measured)))
    wanted = {"profile": str(tmp_path / "pi.json"), "max-latency": "4.5ms"}
    family = make_family(document(devices={"pi": {**wanted, "dtype": "int8-dynamic"}, "board": wanted}))
    found = choose(family, file, family.devices[0], KNOWN)
    assert (found.row.depth, found.on) == (3, str(measured))
    assert str(measured).endswith(", int8-dynamic")
    says = (
        r"\[devices.board\]: the device profile is of exports in int8-dynamic and not in float32; measure these: tleg bench"
    )
    with pytest.raises(InputError, match=says) as caught:
        choose(family, file, family.devices[1], KNOWN)
    assert caught.value.code == "mismatch"


def test_a_profile_is_of_the_format_that_the_device_gets(file: LearngeneFile, tmp_path: Path) -> None:
    measured = replace(profile(d1=0.002, d6=0.007), learngene=file.header.sha256, image_size=SIZE)
    (tmp_path / "pi.json").write_text(to_json(encode(measured)))
    wanted = {"profile": str(tmp_path / "pi.json"), "max-latency": "4.5ms"}
    family = make_family(document(devices={"board": {**wanted, "export": "openvino"}}))
    says = (
        r"\[devices.board\]: the device profile is of exports to onnx and not to openvino; measure these: tleg benchmark "
        "LEARNGENE --export openvino"
    )
    with pytest.raises(InputError, match=says) as caught:
        choose(family, file, family.devices[0], {})
    assert (caught.value.code, caught.value.field) == ("mismatch", "devices")
    with pytest.raises(InputError, match=says):
        FamilyMaker(family, tmp_path / "made").make()
    assert not (tmp_path / "made").exists()
    (tmp_path / "pi.json").write_text(to_json(encode(replace(measured, export="openvino"))))
    assert choose(family, file, family.devices[0], {}).row.depth == 3
