"""Files of terms in 8 and 4 bits: they compute what the rounded learngene does, at every depth, in fewer bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import tleg
from tests.conftest import LearngeneFactory, make_learngene
from tests.export.conftest import BASES, VARIANTS
from tests.models.test_families import EXAMPLES, a_learngene
from tests.models.test_profiles import learngene_of
from tleg.errors import ArchitectureError, InputError
from tleg.export.build import build_exports
from tleg.export.interface import Interface
from tleg.export.onnx.file import opset_of
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.learngene.families import family_of
from tleg.learngene.header import CompressedType
from tleg.models.architecture import describe, timm_family_of

DTYPES: tuple[CompressedType, ...] = ("int8", "int4")
# Windows with tables of positions, convolutions with a norm of responses, and rotary positions.
TRACED: dict[str, tuple[str, dict[str, Any]]] = {
    "swin": EXAMPLES["swin"],
    "convnextv2": ("convnextv2_atto", {"img_size": 32, "dims": [8, 16, 32, 64]}),
    "eva": EXAMPLES["eva"],
}


def build(file: Path, folder: Path, kind: str, depths: tuple[int, ...] = (3,), **more: Any) -> Path:
    more.setdefault("precision", "int8-terms")
    (built,) = build_exports(BuildRequest(file, (kind,), depths, folder, **more))
    return built.path


@pytest.mark.parametrize("kind", ["onnx-compact", "onnx-elastic"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_computes_what_its_rounded_terms_do(
    kind: str, dtype: CompressedType, variant: str, tiny_learngene: LearngeneFactory, tmp_path: Path
) -> None:
    file = tmp_path / "gene.safetensors"
    # Position embeddings, kernels and prefix tokens are large enough as well.
    tiny_learngene(arguments={"embed_dim": 96, **VARIANTS[variant]}).save(file)
    # Compared when it is written, within 1e-4.
    path = build(file, tmp_path / "out", kind, precision=f"{dtype}-terms")
    whole = {
        item.name for item in onnx.load(path).graph.initializer if item.data_type in (TensorProto.INT8, TensorProto.UINT8)
    }
    assert any(name.startswith("blocks.mlp.fc2") and name.endswith(f".{dtype}") for name in whole)
    assert {"patch_embed.proj.weight.int8"} <= whole


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("basis", BASES)
def test_every_basis(dtype: CompressedType, basis: str, tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    file = tmp_path / "gene.safetensors"
    tiny_learngene(basis=BASES[basis]).save(file)
    path = build(file, tmp_path / "out", "onnx-elastic", (1, 5), precision=f"{dtype}-terms")
    report = check_path(path, file)
    assert report.passed, report.checks
    assert report.verification is not None
    assert report.verification.tolerance == 1e-4
    assert f"terms in {dtype[3:]} bits" in report.verification.reference


def test_another_learngene_is_told_from_its_own_by_its_rounding(tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    """Against terms in float32 the same file is too far off: the comparison sees rounding of half a step."""
    from tleg.export.comparison import learngene_reference, verify_export
    from tleg.export.formats import find_format
    from tleg.export.onnx.runtime import open_onnx
    from tleg.models.learngene import load

    file = tmp_path / "gene.safetensors"
    tiny_learngene().save(file)
    path = build(file, tmp_path / "out", "onnx-compact")
    lineage = open_onnx(path).lineage
    assert lineage is not None
    assert lineage.descendant is not None
    from dataclasses import replace

    exact = replace(lineage.descendant, dtype="float32")
    with pytest.raises(tleg.TlegError, match="differs from its reference"):
        verify_export(path, find_format("onnx-compact"), learngene_reference(load(file), exact, (3,)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "heads", "dtype", "most", "share"),
    [
        (384, 6, "int8", 4.6e6, 0.27),
        (768, 12, "int8", 16.5e6, 0.27),
        (384, 6, "int4", 2.9e6, 0.17),
        (768, 12, "int4", 9.7e6, 0.16),
    ],
)
def test_a_small_and_a_base_vit_at_every_depth_fit(
    width: int, heads: int, dtype: CompressedType, most: float, share: float, tmp_path: Path
) -> None:
    arguments = {"img_size": 224, "patch_size": 16, "embed_dim": width, "num_heads": heads}
    file = tmp_path / "gene.safetensors"
    make_learngene(arguments=arguments, num_classes=1000).save(file)
    path = build(file, tmp_path / "out", "onnx-elastic", (), verify=False, precision=f"{dtype}-terms")
    assert path.stat().st_size <= most
    small = tleg.compress(file, tmp_path / "small.safetensors", dtype=dtype)
    assert small.bytes[1] < share * small.bytes[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_compressed_learngene_gives_the_same_file_as_its_original(
    dtype: CompressedType, tiny_learngene: LearngeneFactory, tmp_path: Path, onnx_logits: Any
) -> None:
    file, small = tmp_path / "gene.safetensors", tmp_path / "small.safetensors"
    tiny_learngene().save(file)
    found = tleg.compress(file, small, dtype=dtype)
    assert found.bytes == (file.stat().st_size, small.stat().st_size)
    assert found.accuracies == ()
    assert tleg.read_header(small).reached is None
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    logits = [
        onnx_logits(build(source, tmp_path / str(index), "onnx-elastic", precision=precision), images, 4)
        for index, (source, precision) in enumerate(
            [(file, f"{dtype}-terms"), (small, f"{dtype}-terms"), (small, "float32")]
        )
    ]
    assert np.array_equal(logits[0], logits[1])
    assert np.array_equal(logits[0], logits[2])
    with pytest.raises(InputError, match=f"in {dtype} already"):
        tleg.compress(small, tmp_path / "again.safetensors")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=() if (name, dtype) == ("swin", "int4") else pytest.mark.slow)
        for name in TRACED
        for dtype in DTYPES
    ],
)
def test_what_pytorch_traces_computes_what_its_rounded_terms_do(name: str, dtype: CompressedType, tmp_path: Path) -> None:
    file = tmp_path / "gene.safetensors"
    a_learngene(timm_family_of(describe(*TRACED[name]))).save(file)
    found = tleg.compress(file, tmp_path / "small.safetensors", dtype=dtype)
    assert tleg.load(found.path).header.compression is not None
    exact = build(file, tmp_path / "out", "onnx-compact", (2,), precision="float32")
    path = build(file, tmp_path / "out", "onnx-compact", (2,), precision=f"{dtype}-terms")
    report = check_path(path, file)
    assert report.passed, report.checks
    assert path.stat().st_size < 0.9 * exact.stat().st_size
    of_blocks = family_of(tleg.load(file).header.architecture).is_block
    whole = [each.name for each in onnx.load(path).graph.initializer if each.name.endswith((".int8", ".int4"))]
    assert any(of_blocks(each) for each in whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "interface",
    [
        Interface(opset=17, layout="nhwc", batch=2),
        Interface(opset=17, input="uint8", resize="inside", softmax=True, top=2),
    ],
)
def test_graphs_of_rounded_terms_are_entered_and_left_as_asked(
    dtype: CompressedType, interface: Interface, tiny_learngene: LearngeneFactory, tmp_path: Path
) -> None:
    file = tmp_path / "gene.safetensors"
    tiny_learngene().save(file)
    path = build(file, tmp_path / "out", "onnx-elastic", precision=f"{dtype}-terms", interface=interface)
    assert opset_of(onnx.load(path)) == 17
    report = check_path(path, file)
    assert report.passed, report.checks


def test_what_cannot_be_rounded_is_refused(tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    swin, plain = tmp_path / "swin.safetensors", tmp_path / "gene.safetensors"
    learngene_of("swin").save(swin)
    tiny_learngene().save(plain)
    with pytest.raises(ArchitectureError, match="is not a plain ViT, and --export onnx-elastic takes no other"):
        build(swin, tmp_path / "out", "onnx-elastic", (1,))
    with pytest.raises(InputError, match="untrained head"):
        build(plain, tmp_path / "out", "onnx-compact", num_classes=3)
    with pytest.raises(InputError, match="--export onnx-compact or onnx-elastic takes it"):
        build(plain, tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"limit": 3}, {"max_drop": 1.0}, {"depths": [3]}])
def test_options_of_accuracy_need_images(options: dict[str, Any], tiny_learngene: LearngeneFactory, tmp_path: Path) -> None:
    tiny_learngene().save(tmp_path / "gene.safetensors")
    with pytest.raises(InputError, match="add --data DATA"):
        tleg.compress(tmp_path / "gene.safetensors", tmp_path / "small.safetensors", **options)
    assert not (tmp_path / "small.safetensors").exists()
