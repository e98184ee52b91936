"""The paper's own checkpoints: golden data that the official code made from random weights (sizes in data/config.json)."""

import argparse
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tleg.errors import FileFormatError, InputError
from tleg.models.learngene import Learngene, load
from tleg.models.official import import_official

DATA = Path(__file__).parent / "data"
CHECKPOINT = DATA / "aux_checkpoint.pth"
DEPTHS = (3, 8, 12)


@pytest.fixture(scope="module")
def learngene() -> Learngene:
    return import_official(CHECKPOINT, heads=3)


@pytest.fixture(scope="module")
def vectors() -> dict[str, torch.Tensor]:
    return load_file(DATA / "vectors.safetensors")


def contents() -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        return dict(torch.load(CHECKPOINT, weights_only=True))


def changed(folder: Path, **changes: Any) -> Path:
    """A copy of the golden checkpoint with some of its entries replaced; None leaves one out."""
    document = {**contents(), **changes}
    path = folder / "changed.pth"
    torch.save({name: value for name, value in document.items() if value is not None}, path)
    return path


def test_sizes_are_read_from_the_tensors(learngene: Learngene) -> None:
    config = json.loads((DATA / "config.json").read_text())
    structure = learngene.header.architecture.structure
    assert structure is not None
    assert structure.image_size == (config["img_size"],) * 2
    assert structure.patch_size == (config["patch_size"],) * 2
    assert (structure.width, structure.heads) == (config["embed_dim"], config["num_heads"])
    assert learngene.header.architecture.num_classes == config["num_classes"]
    assert learngene.header.auxiliary.depth == config["aux_depth"]
    assert structure.eps == learngene.header.architecture.eps == 1e-5
    assert not structure.class_token


def test_recorded_options_are_kept(learngene: Learngene) -> None:
    assert learngene.header.learned["method"] == "imported"
    assert learngene.header.learned["recorded"]["teacher_model"] == "levit_384"
    assert json.loads(json.dumps(learngene.header.learned)) == learngene.header.learned


@pytest.mark.parametrize("depth", DEPTHS)
def test_official_layout_equals_the_official_expansion_bit_for_bit(learngene: Learngene, depth: int) -> None:
    expected = load_file(DATA / f"descendant_L{depth}.safetensors")
    state = learngene.expand(depth, layout="official").state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []


@pytest.mark.parametrize("depth", DEPTHS)
def test_auxiliary_layout_differs_in_the_name_of_the_final_norm_alone(learngene: Learngene, depth: int) -> None:
    expected = load_file(DATA / f"descendant_L{depth}.safetensors")
    expected = {name.replace("fc_norm.", "norm."): value for name, value in expected.items()}
    state = learngene.expand(depth).state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []


def test_descendant_at_the_auxiliary_depth_is_the_auxiliary(learngene: Learngene, vectors: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        logits = learngene.expand(12)(vectors["input"])
    assert (logits - vectors["aux_logits"]).abs().max() <= 1e-6


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("layout", "name"), [("auxiliary", "norm_before_pool"), ("official", "official")])
def test_logits(learngene: Learngene, vectors: dict[str, torch.Tensor], depth: int, layout: Any, name: str) -> None:
    with torch.inference_mode():
        logits = learngene.expand(depth, layout=layout)(vectors["input"])
    assert (logits - vectors[f"descendant_logits_{name}_L{depth}"]).abs().max() <= 1e-6


def test_elastic_model_gives_the_same_logits(learngene: Learngene, vectors: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        assert (learngene.elastic()(vectors["input"], 12) - vectors["aux_logits"]).abs().max() <= 1e-6


def test_survives_saving(learngene: Learngene, tmp_path: Path) -> None:
    learngene.save(tmp_path / "imported.safetensors")
    again = load(tmp_path / "imported.safetensors")
    assert again.tensors.keys() == learngene.tensors.keys()
    assert all(np.array_equal(again.tensors[name], values) for name, values in learngene.tensors.items())


def test_heads_are_asked_for() -> None:
    with pytest.raises(InputError, match="--heads"):
        import_official(CHECKPOINT)


@pytest.mark.parametrize("heads", [0, -3, 5, 96])
def test_heads_must_divide_the_width(heads: int) -> None:
    with pytest.raises(InputError, match="--heads"):
        import_official(CHECKPOINT, heads=heads)


@pytest.mark.parametrize("recorded", [argparse.Namespace(), argparse.Namespace(model="something_else"), None])
def test_auxiliary_depth_is_asked_for(tmp_path: Path, recorded: argparse.Namespace | None) -> None:
    path = changed(tmp_path, args=recorded)
    with pytest.raises(InputError, match="--auxiliary-depth"):
        import_official(path, heads=3)
    assert import_official(path, heads=3, auxiliary_depth=9).header.auxiliary.depth == 9


@pytest.mark.parametrize(
    ("options", "depth"),
    [({"depth": 24}, 24), ({"model": "aux_deit_small_patch16_224_L36"}, 36), ({"model": "aux_deit_tiny_patch16_224"}, 12)],
)
def test_auxiliary_depth_is_read_where_it_is_recorded(tmp_path: Path, options: dict[str, Any], depth: int) -> None:
    path = changed(tmp_path, args=argparse.Namespace(**options))
    assert import_official(path, heads=3).header.auxiliary.depth == depth


def test_heads_are_read_from_the_model_name_when_its_width_is_this_one(tmp_path: Path) -> None:
    learngene = import_official(_with_width(tmp_path, 192, "aux_deit_tiny_patch16_224"))
    structure = learngene.header.architecture.structure
    assert structure is not None
    assert structure.heads == 3
    assert learngene.header.architecture.name == "deit_tiny_patch16_224"
    assert "embed_dim" not in learngene.header.architecture.arguments


def test_an_architecture_may_be_named(tmp_path: Path) -> None:
    learngene = import_official(CHECKPOINT, heads=3, architecture="vit_small_patch16_224")
    assert learngene.header.architecture.name == "vit_small_patch16_224"
    with pytest.raises(InputError, match="Did you mean 'vit_small_patch16_224'"):
        import_official(CHECKPOINT, heads=3, architecture="vit_smal_patch16_224")
    with pytest.raises(InputError, match="'swin_tiny_patch4_window7_224' is not a plain ViT"):
        import_official(CHECKPOINT, heads=3, architecture="swin_tiny_patch4_window7_224")


def _with_width(folder: Path, width: int, model: str) -> Path:
    state = {}
    for name, value in contents()["model"].items():
        shape = [{48: width, 144: 3 * width, 192: 4 * width}.get(size, size) for size in value.shape]
        state[name] = torch.full(shape, 0.01)
    return changed(folder, model=state, args=argparse.Namespace(model=model))


def test_missing_unexpected_and_misshapen_tensors_are_all_named(tmp_path: Path) -> None:
    state = dict(contents()["model"])
    state.pop("norm.bias")
    state.pop("blocks.block.attn.proj.instances.0.bias_ilayer")
    state["cls_token"] = torch.zeros(1, 1, 48)
    state["head.bias"] = torch.zeros(8)
    with pytest.raises(FileFormatError) as caught:
        import_official(changed(tmp_path, model=state), heads=3)
    text = str(caught.value)
    assert "missing: blocks.block.attn.proj.instances.0.bias_ilayer, norm.bias" in text
    assert "unexpected: cls_token" in text
    assert "misshapen: head.bias [8] instead of [7]" in text
    assert "\n" not in text


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = dict(contents()["model"])
    state["head.bias"] = torch.tensor([0, 1, 2, float("nan"), 4, 5, 6])
    with pytest.raises(FileFormatError, match=r"head\.bias.*not finite"):
        import_official(changed(tmp_path, model=state), heads=3)


def test_other_types_are_refused(tmp_path: Path) -> None:
    state = {**contents()["model"], "head.bias": torch.zeros(7, dtype=torch.int64)}
    with pytest.raises(FileFormatError, match=r"torch\.int64"):
        import_official(changed(tmp_path, model=state), heads=3)


class Bomb:
    """Pickles as a call of a function with a side effect."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("place", ["args", "model", "extra"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, place: str) -> None:
    mark = tmp_path / "executed"
    value = {**contents()["model"], "bomb": Bomb(mark)} if place == "model" else Bomb(mark)
    path = changed(tmp_path, **{place: value})
    with pytest.raises(FileFormatError, match="runs nothing"):
        import_official(path, heads=3)
    assert not mark.exists()


def test_a_timm_checkpoint_is_not_an_auxiliary_model(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"model": {"blocks.0.norm1.weight": torch.ones(4)}}, path)
    with pytest.raises(FileFormatError, match="not an auxiliary model of the official TLEG code"):
        import_official(path)


@pytest.mark.parametrize("document", [[1, 2], torch.ones(3), {"model": 3}, {"model": {}}, 7])
def test_other_documents_are_refused(tmp_path: Path, document: Any) -> None:
    path = tmp_path / "other.pth"
    torch.save(document, path)
    with pytest.raises(FileFormatError):
        import_official(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing else", b"\x80\x02nonsense", b"plain text", b"\0" * 4096])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(FileFormatError):
        import_official(path, heads=3)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    content = CHECKPOINT.read_bytes()
    path = tmp_path / "damaged.pth"
    for length in (100, len(content) // 2, len(content) - 30):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError):
            import_official(path, heads=3)


def test_a_zip_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(FileFormatError):
        import_official(path, heads=3)


def test_command(run_cli: Any, tmp_path: Path) -> None:
    output = tmp_path / "imported.safetensors"
    done = run_cli("import", CHECKPOINT, "--output", output, "--heads", 3)
    assert (done.code, done.stdout) == (0, f"{output}\n")
    before = output.read_bytes()
    again = run_cli("import", CHECKPOINT, "--output", output, "--heads", 3)
    assert again.code == 2
    assert "--force" in again.stderr
    forced = run_cli("import", CHECKPOINT, "--output", output, "--heads", 3, "--force", "--json")
    assert json.loads(forced.stdout)["auxiliary_depth"] == 12
    assert output.read_bytes() == before
    failed = run_cli("import", DATA / "vectors.safetensors", "--output", output, "--heads", 3, "--force")
    assert (failed.code, failed.stdout, failed.stderr.count("\n")) == (2, "", 1)
    assert output.read_bytes() == before
