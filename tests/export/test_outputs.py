"""Exports of features: what timm computes, in every format, and what is said of them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch

from tests.conftest import CommandResult
from tests.export.conftest import VARIANTS, noise, relative_error
from tests.export.test_traced_compact import MODELS
from tests.models.test_families import learngene_of
from tleg.errors import FileFormatError, InputError
from tleg.export.build import build_exports
from tleg.export.manifest import FOLDER_MANIFEST, read_manifest
from tleg.export.onnx.elastic import write_elastic
from tleg.export.onnx.runtime import open_onnx
from tleg.export.plan import BuildRequest
from tleg.export.sources import plain_vit
from tleg.export.verify import check_path
from tleg.learngene.architecture import Layout
from tleg.models.descendant import expand
from tleg.models.learngene import Learngene, load
from tleg.models.output import parse_output
from tleg.models.timm_folder import load_timm_folder, write_timm_folder

Cli = Callable[..., CommandResult]
Array = np.ndarray[Any, Any]
FEATURES = ("pooled", "tokens", "blocks:1,3")
DEPTH = 4


def of_timm(model: Any, output: str, images: Array) -> list[Array]:
    """What timm computes, by its own methods."""
    with torch.inference_mode():
        x = torch.from_numpy(images)
        if output == "pooled":
            found = [model.forward_head(model.forward_features(x), pre_logits=True)]
        elif output == "tokens":
            found = [model.forward_features(x)]
        else:
            indices = [int(each) - 1 for each in output.partition(":")[2].split(",")]
            found = model.forward_intermediates(x, indices=indices, intermediates_only=True, output_fmt="NCHW")
    return [each.numpy() for each in found]


def of_onnx(path: Path, images: Array, depth: int | None = None) -> list[Array]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"images": images} | ({} if depth is None else {"depth": np.array(depth, np.int64)})
    return list(session.run(None, feed))


def assert_same(found: list[Array], expected: list[Array]) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert relative_error(mine, theirs) < 1e-5


def asked(learngene: str | Path, kinds: tuple[str, ...], output: str, folder: Path, **options: Any) -> BuildRequest:
    return BuildRequest(learngene, kinds, output=folder, output_of=parse_output(output), **options)


@pytest.mark.parametrize("output", FEATURES)
def test_every_format_gives_what_timm_computes(learngene_file: Path, tmp_path: Path, output: str) -> None:
    elastic = () if output.startswith("blocks") else ("onnx-elastic",)
    kinds = ("onnx", "onnx-compact", "pytorch", *elastic)
    built = build_exports(asked(learngene_file, kinds, output, tmp_path, depths=(DEPTH,)))
    learngene = load(learngene_file)
    images = noise(learngene, 3)
    expected = of_timm(expand(learngene, DEPTH), output, images)
    names = parse_output(output).names
    for item in built:
        manifest = item.manifest
        assert manifest.verification is not None
        assert manifest.verification.relative_error < 1e-5
        assert manifest.verification.argmax_agreement is None
        assert {each.output for each in manifest.verification.comparisons} == set(names)
        assert manifest.outputs is not None
        assert [(each.name, each.shape) for each in manifest.outputs] == [
            (name, each.shape[1:]) for name, each in zip(names, expected, strict=True)
        ]
        assert check_path(item.path, learngene_file).passed
        if not item.path.is_dir():
            depth = None if manifest.file.kind != "onnx-elastic" else DEPTH
            assert_same(of_onnx(item.path, images, depth), expected)
            texts = {each.key: each.value for each in onnx.load(item.path).metadata_props}
            assert [each["name"] for each in json.loads(texts["outputs"])] == list(names)
            assert "classes" not in texts


@pytest.mark.parametrize("layout", ["auxiliary", "official"])
@pytest.mark.parametrize("variant", ["plain", "class token", "averaged beside a class token", "dinov2", "clip"])
def test_variants_and_layouts(variant: str, layout: Layout, tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene(arguments=VARIANTS[variant])
    if layout == "official" and variant in ("class token", "dinov2", "clip"):
        pytest.skip("a class token is pooled after the norm alone")
    path = tmp_path / "it.safetensors"
    learngene.save(path)
    images = noise(learngene)
    for output in FEATURES:
        (item,) = build_exports(asked(path, ("onnx",), output, tmp_path, depths=(3,), layout=layout, verify=False))
        assert_same(of_onnx(item.path, images), of_timm(expand(learngene, 3, layout=layout), output, images))
        assert item.manifest.outputs is not None
        if output == "tokens":
            assert item.manifest.outputs[0].prefix_tokens == learngene.header.architecture.structure.prefix_tokens


def test_a_folder_is_loaded_by_timm_in_the_line_that_its_manifest_says(learngene_file: Path, tmp_path: Path) -> None:
    learngene = load(learngene_file)
    images, model = noise(learngene), expand(learngene, DEPTH)
    for output in FEATURES:
        (item,) = build_exports(asked(learngene_file, ("pytorch",), output, tmp_path, depths=(DEPTH,), verify=False))
        config = json.loads((item.path / "config.json").read_text())
        assert config["num_classes"] == 0
        assert "label_names" not in config
        usage = item.manifest.usage or f'timm.create_model("local-dir:{item.path.name}", pretrained=True)(images)'
        line = usage.replace("local-dir:", f"local-dir:{tmp_path}/").replace(")(images)", ").eval()(images)")
        with torch.inference_mode():
            found = eval(line, {"timm": timm, "images": torch.from_numpy(images)})
        assert_same(
            [each.numpy() for each in (found if isinstance(found, list) else [found])], of_timm(model, output, images)
        )
        assert load_timm_folder(item.path).num_classes == 0


def test_what_is_not_needed_is_left_out_and_does_not_count(learngene_file: Path, tmp_path: Path) -> None:
    learngene = load(learngene_file)
    model: Any = expand(learngene, DEPTH)
    head = sum(value.numel() for value in model.head.parameters())
    later = sum(value.numel() for value in (*model.blocks[2:].parameters(), *model.norm.parameters()))
    cost = learngene.header.cost.at(DEPTH)
    classifier = model.head.weight.numel()
    for output, parameters, macs in (
        ("pooled", cost.parameters - head, cost.macs - classifier),
        ("blocks:2", cost.parameters - head - later, None),
    ):
        built = build_exports(
            asked(learngene_file, ("onnx", "onnx-compact"), output, tmp_path, depths=(DEPTH,), verify=False)
        )
        for item in built:
            assert item.manifest.cost is not None
            assert item.manifest.cost.parameters == parameters
            assert macs is None or item.manifest.cost.macs == macs
            graph = onnx.load(item.path).graph
            assert not any(each.name.startswith("head") for each in graph.initializer)
            assert any(each.name.startswith("blocks.3.") for each in graph.node) == (output == "pooled")
    half = learngene.header.cost.at(2).macs - classifier
    assert item.manifest.cost is not None
    assert 0 < half - item.manifest.cost.macs < 0.01 * half  # The final norm.


@pytest.mark.parametrize("kind", ["onnx", "onnx-compact", "pytorch", "onnx-elastic"])
def test_float16(kind: str, learngene_file: Path, tmp_path: Path) -> None:
    output = "tokens" if kind == "onnx-elastic" else "blocks:1,4"
    depths = () if kind == "onnx-elastic" else (DEPTH,)
    (item,) = build_exports(asked(learngene_file, (kind,), output, tmp_path, depths=depths, precision="float16"))
    verification = item.manifest.verification
    assert verification is not None
    assert verification.relative_error < 1e-2
    assert verification.range is not None
    assert {each.arithmetic for each in verification.comparisons} == {"float16", "float32"}


def test_a_depth_out_of_range_gives_no_features(learngene_file: Path, tmp_path: Path) -> None:
    learngene = load(learngene_file)
    structure = learngene.header.architecture.structure
    assert structure is not None
    write_elastic(
        tmp_path / "it.onnx",
        structure,
        learngene.header.basis,
        learngene.tensors,
        output=parse_output("pooled"),
        metadata={},
    )
    with pytest.raises(Exception, match="depth_must_be_1_to_1024"):
        of_onnx(tmp_path / "it.onnx", noise(learngene), 0)


def test_a_folder_of_a_model_with_classes(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    build_exports(BuildRequest(learngene_file, ("pytorch",), (DEPTH,), tmp_path, verify=False))
    folder = tmp_path / "tiny-depth4"
    model, images = load_timm_folder(folder), noise(load(learngene_file))
    for output in FEATURES:
        for item in build_exports(asked(folder, ("onnx", "pytorch"), output, tmp_path / "out")):
            assert item.manifest.folder is not None
            assert item.manifest.folder.output == output
            assert item.manifest.folder.num_classes == 0
            if not item.path.is_dir():
                assert_same(of_onnx(item.path, images), of_timm(model, output, images))
            assert run_cli("verify", item.path, "--learngene", folder).code == 0
    assert plain_vit(model) is not None, "it is as it was"


def test_a_folder_without_classes_gives_its_pooled_vector(learngene_file: Path, tmp_path: Path) -> None:
    (made,) = build_exports(asked(learngene_file, ("pytorch",), "pooled", tmp_path, depths=(2,), verify=False))
    (item,) = build_exports(BuildRequest(made.path, ("onnx",), output=tmp_path / "out"))
    assert item.manifest.folder is not None
    assert item.manifest.folder.output == "pooled"
    images = noise(load(learngene_file))
    assert_same(of_onnx(item.path, images), of_timm(expand(load(learngene_file), 2), "pooled", images))
    with pytest.raises(InputError, match="has no classes"):
        build_exports(asked(made.path, ("onnx",), "classes", tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learngene]:
    learngene = learngene_of(*MODELS["swin"])
    path = tmp_path_factory.mktemp("staged") / "swin.safetensors"
    learngene.save(path)
    return path, learngene


@pytest.mark.parametrize("output", ["tokens", "stages:1,3"])
def test_a_family_with_stages(output: str, staged: tuple[Path, Learngene], tmp_path: Path) -> None:
    """Swin's own maps have their channels last."""
    path, learngene = staged
    images = noise(learngene)
    built = build_exports(asked(path, ("pytorch", "onnx-compact"), output, tmp_path, depths=(2,)))
    expected = of_timm(expand(learngene, 2), output, images)
    if output == "tokens":
        expected = [each.transpose(0, 3, 1, 2) for each in expected]
    assert_same(of_onnx(built[1].path, images), expected)
    for item in built:
        assert item.manifest.outputs is not None
        assert [each.shape for each in item.manifest.outputs] == [each.shape[1:] for each in expected]
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5


REFUSED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "beyond the last block": (
        ("--output-of", "blocks:2,5"),
        "there is no block 5: the descendant of depth 4 has blocks 1 to 4",
    ),
    "a block twice": (("--output-of", "blocks:2,2"), "names block 2 twice"),
    "stages of one stage": (("--output-of", "stages:1"), "has one stage: take blocks:1,2,3,4"),
    "a head besides": (("--output-of", "pooled", "--num-classes", 3), "--num-classes makes a head"),
    "an unknown word": (("--output-of", "pooling"), "there is no output 'pooling'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_write_nothing(case: str, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    arguments, said = REFUSED[case]
    done = run_cli("build", learngene_file, "--depth", 4, "--export", "onnx", "--output", tmp_path / "out", *arguments)
    assert done.code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_elastic_file_has_no_maps(learngene_file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"turns of one loop.*it has classes, pooled, tokens"):
        build_exports(asked(learngene_file, ("onnx-elastic",), "blocks:1", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_blocks_of_a_family_with_stages_are_refused(staged: tuple[Path, Learngene], tmp_path: Path) -> None:
    for output, said in (("blocks:1", "has stages.*stages:1,2,3,4"), ("stages:5", "has stages 1 to 4")):
        with pytest.raises(InputError, match=said):
            build_exports(asked(staged[0], ("onnx",), output, tmp_path / "out", depths=(2,)))
    assert not (tmp_path / "out").exists()


def test_a_model_that_hands_on_no_tokens(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"img_size": 64, "base_dims": [8, 8, 8], "heads": [2, 4, 8], "depth": [1, 1, 1]}
    model: Any = timm.create_model("pit_ti_224", num_classes=3, **arguments)
    folder = tmp_path / "pit"
    folder.mkdir()
    config = {
        "architecture": "pit_ti_224",
        "num_classes": 3,
        "model_args": arguments,
        "pretrained_cfg": {**model.pretrained_cfg, "input_size": [3, 64, 64], "num_classes": 3},
    }
    write_timm_folder(folder, {name: value.numpy() for name, value in model.state_dict().items()}, config)
    with pytest.raises(InputError, match="hands no tokens of patches to its head"):
        build_exports(asked(folder, ("onnx",), "tokens", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_features_have_no_accuracy(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    (item,) = build_exports(asked(learngene_file, ("onnx",), "pooled", tmp_path, depths=(2,), verify=False))
    assert open_onnx(item.path).num_classes == 0
    done = run_cli("evaluate", item.path, "--data", tmp_path)
    assert done.code == 2
    assert "gives pooled features and no classes" in done.stderr


def test_json_names_the_outputs(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    arguments = ("--depth", 2, "--export", "pytorch", "--output-of", "blocks:2", "--output", tmp_path, "--json")
    (export,) = json.loads(run_cli("build", learngene_file, *arguments).stdout)["exports"]
    assert export["path"].endswith("tiny-depth2-blocks2")
    assert [each["name"] for each in export["outputs"]] == ["block2"]
    assert export["usage"].startswith("timm.create_model(")
    assert set(export["cost"]) == {"parameters", "macs"}
    assert "argmax_agreement" not in export["verification"]


def test_a_manifest_with_an_unknown_output_is_refused(learngene_file: Path, tmp_path: Path) -> None:
    (item,) = build_exports(asked(learngene_file, ("pytorch",), "tokens", tmp_path, depths=(2,), verify=False))
    place = item.path / FOLDER_MANIFEST
    place.write_text(place.read_text().replace('"output": "tokens"', '"output": "heads"'))
    with pytest.raises(FileFormatError, match="an output that this tleg does not know"):
        read_manifest(place)
