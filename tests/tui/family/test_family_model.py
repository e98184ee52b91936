"""The form of a family without its widgets: texts and values, and what is wrong where."""

import tomllib
from typing import Any

import pytest

from tests.project.test_docs_family import FILES
from tleg.family.document import format_document
from tleg.family.file import DeviceOptions, make_family
from tleg.recipes.fields import options_of
from tleg_tui.family.devices import DeviceLine
from tleg_tui.family.model import FamilyForm, device_specs, file_words, wanted_words

SOUND = {"learngene": "fashion-mnist", "data": "digits", "license": "mit"}


def form(**devices: dict[str, Any]) -> FamilyForm:
    return FamilyForm.of({**SOUND, "devices": devices})


def test_every_key_of_a_device_is_asked_for() -> None:
    names = [spec.name for spec in device_specs()]
    assert names[0] == "name"
    assert set(names[1:]) == {each.name for each in options_of(DeviceOptions)}
    assert len(names) == len(set(names))


def test_a_file_that_is_shown_and_left_alone_keeps_its_bytes() -> None:
    for text in FILES:
        document = tomllib.loads(text)
        shown = FamilyForm.of(document)
        for place in range(len(shown.devices)):
            for spec in device_specs():
                shown.set_device_text(place, spec.name, shown.device_text(place, spec.name))
        for name in ("title", "learngene", "data", "license", "depths"):
            shown.set_text(name, shown.text(name))
        assert shown.document == document
    assert format_document(FamilyForm.of(tomllib.loads(FILES[0])).document) == FILES[0]


def test_typed_texts_become_values() -> None:
    shown = form(phone={})
    for name, text in {
        "max-params": "400K",
        "epochs": "3",
        "top1": "88.5",
        "part": "1",
        "depth": "12",
        "image-size": "128,160",
    }.items():
        shown.set_device_text(0, name, text)
    shown.set_device_text(0, "part", " ")
    assert shown.document["devices"]["phone"] == {
        "max-params": "400K",
        "epochs": 3,
        "top1": 88.5,
        "depth": 12,
        "image-size": "128,160",
    }
    shown.set_device_text(0, "name", "watch")
    assert list(shown.document["devices"]) == ["watch"]


def test_tables_that_are_not_shown_stay() -> None:
    document = {**SOUND, "finetune": {"lr": 1e-4}, "devices": {"phone": {}}}
    shown = FamilyForm.of(document)
    shown.set_text("title", "Mine")
    assert shown.document == {**document, "title": "Mine"}


def test_what_is_wrong_is_said_where_it_is() -> None:
    shown = form(
        phone={"max-params": "many"}, watch={"depth": 3, "part": 0.5}, tv={"epochs": "few"}, server={}, lens={"top1": 101}
    )
    found = shown.problems()
    assert not found.general
    assert found.devices == {
        0: "'many' is not a count such as 800k, 20M or 3G",
        1: "depth, part and a budget each choose the depth; give one of them",
        2: "epochs must be a whole number, not 'few'",
        4: "top1 must be from 0 to 100, not 101",
    }
    sound = shown.sound(found)
    assert sound is not None
    assert list(sound["devices"]) == ["server"]
    shown.set_device_text(3, "max-macs", "5M")
    assert sound["devices"] == {"server": {}}  # What was asked about stays what it was.


def test_all_that_is_missing_is_named_at_once() -> None:
    shown = FamilyForm.of({"learngene": "x", "depths": "3-1", "devices": {"phone": {}}})
    found = shown.problems()
    assert set(found.general) == {"data", "license", "depths"}
    assert shown.sound(found) is None
    shown.set_text("depths", "1-3")
    found = shown.problems()
    assert set(found.general) == {"data", "license"}
    sound = shown.sound(found)  # Which depth it gets does not depend on them.
    assert sound is not None
    make_family(sound)
    shown.remove(0)
    assert "at least one device" in shown.problems().general["devices"]


def test_two_devices_of_one_name_are_refused() -> None:
    shown = form(phone={})
    assert shown.add(0) == 1
    assert shown.devices[1][0] == "device-1"
    shown.set_device_text(1, "name", "phone")
    assert shown.problems().devices == {1: "there are two devices called phone"}


@pytest.mark.parametrize(
    ("budget", "table"),
    [
        ({}, {"part": 0.5}),
        ({"parameters": "20M", "batch": "8", "size": " "}, {"max-params": "20M"}),
        ({"macs": "0.3"}, {"max-macs": "0.3G"}),
        ({"macs": "3M", "device": "pi.json"}, {"max-macs": "3M"}),
        ({"latency": "20ms", "device": "pi.json"}, {"max-latency": "20ms", "profile": "pi.json"}),
    ],
)
def test_the_first_device_has_the_budget(budget: dict[str, str], table: dict[str, Any]) -> None:
    shown = FamilyForm.begin("fashion-mnist", "digits", budget)
    assert shown.devices == [("device", table)]
    assert not shown.problems().devices


def test_a_device_in_few_words() -> None:
    table = {"max-params": "400K", "max-size": "1MB", "max-drop": 1, "top1": 88, "epochs": 3, "dtype": "int8"}
    assert wanted_words(table) == "≤400K params, ≤1MB, ≥88 %, 3 epochs"
    assert file_words(table) == "onnx int8"
    assert wanted_words({"epochs": 1, "depth": 2}) == "depth 2, 1 epoch"
    assert wanted_words({}) == "the most accurate"


def test_what_a_device_gets_in_words() -> None:
    planned = {
        "problem": None,
        "depth": "5",
        "top1": 88.31,
        "parameters": 254_922,
        "macs": 4_203_000,
        "bytes": 1_019_688,
        "latency": 0.02,
        "epochs": 2,
        "doubt": None,
    }
    line = DeviceLine("phone", "", "onnx", planned)
    assert line.gets == "depth 5  88.31 %  254.92 k"
    assert line.sentence("10 images") == (
        "phone gets depth 5, 254.92 k parameters, 4.20 M MACs, 1.0 MB of weights, 20.000 ms there; "
        "88.31 % before fine-tuning on 10 images"
    )
    doubted = DeviceLine("phone", "", "onnx", {**planned, "epochs": 0, "doubt": "not trained below depth 6"})
    assert doubted.sentence("10 images") == (
        "phone gets depth 5 (not trained below depth 6), 254.92 k parameters, 4.20 M MACs, 1.0 MB of weights, "
        "20.000 ms there; 88.31 % on 10 images"
    )
    refused = DeviceLine("phone", "", "onnx", {**planned, "problem": "[devices.phone]: no depth fits"})
    assert (refused.gets, refused.wrong) == ("✗ no depth fits", True)
    assert DeviceLine("phone", "", "onnx", {**planned, "depth": None}).gets == "once the learngene is there"
