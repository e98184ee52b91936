"""The file of a family: what it may say, and how it is refused."""

from pathlib import Path
from typing import Any

import pytest

from tleg.errors import FileFormatError, InputError
from tleg.family.file import Family, make_family, read_family
from tleg.learngene.cost import Budget
from tleg.recipes.learning import LearnRecipe


def document(**changes: Any) -> dict[str, Any]:
    values = {
        "title": "Digits",
        "data": "digits",
        "license": "mit",
        "learngene": "fashion-mnist",
        "devices": {"phone": {"max-params": "400K"}},
    }
    return {key: value for key, value in {**values, **changes}.items() if value is not None}


def device(**values: Any) -> dict[str, Any]:
    return document(devices={"phone": values})


def test_what_a_device_says_is_read() -> None:
    family = make_family(
        document(
            depths="2-4",
            devices={
                "phone": {
                    "max-params": "400K",
                    "max-latency": "20ms",
                    "profile": "pi.json",
                    "image-size": "128,160",
                    "epochs": 3,
                },
                "server": {"depth": 12, "export": "pytorch", "top1": 80.5},
            },
        )
    )
    phone, server = family.devices
    assert phone.budget == Budget(parameters=400_000, latency=0.02)
    assert (phone.profile, phone.image_sizes, phone.epochs) == (Path("pi.json"), ((128, 128), (160, 160)), 3)
    assert (server.depth, server.export, server.top1, server.epochs) == (12, "pytorch", 80.5, 0)
    assert family.depths == (2, 3, 4)
    recipe = family.finetune_recipe(phone, "it.safetensors", "3", "128x128", None)
    assert (recipe.recipe.epochs, recipe.data) == (3, "digits")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (document(license=None), 'name the licence of what is made, as in license = "apache-2.0"'),
        (document(license="  "), "name the licence"),
        (document(data=None), "name the images on which accuracy is measured"),
        (document(learngene=None), "a family needs learngene"),
        (document(learn={"architecture": "vit_tiny_patch16_224"}), "give learngene or [learn], not both"),
        (document(devices={}), "a family needs at least one device"),
        (document(device={}), "a family has an unknown key 'device'. Did you mean 'devices'?"),
        (document(devices={"a b": {}}), "a device is called by letters, digits"),
        (document(devices={"phone": 3}), "phone is a table"),
        (document(title=3), "title is a text in quotes, not 3"),
        (document(ancestor=3), "ancestor is a model's name or path"),
        (document(finetune={"epochs": 3}), "[finetune] has epochs, which the family decides"),
        (document(learngene=None, learn={"architecture": "vit_tiny_patch16_224", "rate": 3}), "[learn]: "),
        (document(ancestor={"model": "vit_tiny_patch16_224", "data": "x"}), "[ancestor] has data"),
        (document(depths="0"), "depth"),
        (device(size="3MB"), "[devices.phone] has an unknown key 'size'"),
        (device(export="tflite"), "[devices.phone]: "),
        (device(dtype="float64"), "[devices.phone]: "),
        (device(**{"max-params": "many"}), "[devices.phone]: "),
        (device(**{"max-latency": "20ms"}), "[devices.phone]: max-latency needs a device"),
        (device(depth=3, **{"max-params": "3M"}), "depth, part and a budget each choose the depth"),
        (device(depth=3, part=0.5), "depth, part and a budget each choose the depth"),
        (device(depth=3, **{"image-size": "32,48"}), "a depth is built for one image-size"),
        (device(epochs=1, export="onnx-compact"), "[devices.phone]: "),
        (device(epochs=-1), "[devices.phone]: "),
        (device(dtype="int8", export="onnx-compact"), "[devices.phone]: "),
        (device(dtype="int8-terms"), "[devices.phone]: "),
        (device(**{"max-drop": 1}), "[devices.phone]: max-drop decides whether a smaller dtype is kept"),
        (device(top1=101), "[devices.phone]: "),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_family(values)
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert caught.value.field
    assert "\n" not in str(caught.value)


def test_what_is_given_stands_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    file.write_text('data = "a"\nlicense = "mit"\nlearngene = "x"\n[devices.phone]\n')
    family = read_family(file, {"data": "b", "learngene": "y"})
    assert (family.data, family.learngene, family.license) == ("b", "y", "mit")
    file.write_text("data = ")
    with pytest.raises(FileFormatError):
        read_family(file)


def test_a_family_without_a_file() -> None:
    family = read_family(None, {"data": "pictures", "license": "mit"})
    assert [(each.name, each.part) for each in family.devices] == [("small", 0.25), ("medium", 0.5), ("large", 1.0)]
    recipe = family.learn_recipe(None)
    assert isinstance(recipe, LearnRecipe)
    assert recipe.architecture == "vit_small_patch16_224"
    given: Family = read_family(None, {"data": "pictures", "license": "mit", "learngene": "fashion-mnist"})
    assert not given.learn
    with pytest.raises(InputError, match="name the licence"):
        read_family(None, {"data": "pictures"})


@pytest.mark.parametrize("name", ["runs", "learngene", "ancestor"])
def test_names_of_other_parts_are_no_devices(name: str) -> None:
    with pytest.raises(InputError, match=f"cannot be called {name}"):
        make_family(document(devices={name: {}}))


@pytest.mark.parametrize("values", [{"epochs": "3"}, {"top1": "much"}, {"export": 3.5}, {"max-params": True}])
def test_values_of_another_type_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"\[devices.phone\]: .* must be"):
        make_family(device(**values))
