"""Every family of architectures goes through all that is made of one, and so do two that are none of tleg's.

One has two stages of other widths and depths, under other names: what assumed one stage, 'blocks.' or a ViT's head anywhere
would fail here. The other has four, and LSTMs in place of attention.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import TINY_ARGUMENTS
from tests.models.levels import LevelsFamily, registered
from tleg.errors import ArchitectureError, FileFormatError, InputError
from tleg.export.build import build_exports
from tleg.export.plan import BuildRequest
from tleg.learngene.architecture import LAYOUTS
from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.families import families, family_covering, family_of, register, unregister
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.learngene.running_statistics import is_logarithm, is_statistic
from tleg.learngene.structure import PLAIN_VIT, PlainVit
from tleg.models.architecture import build, describe, timm_family_of
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.descendant import baseline
from tleg.models.flops import count_macs, measure
from tleg.models.learngene import Learngene, load
from tleg.models.running_terms import RunningTerms
from tleg.models.timm_family import TimmFamily

# A small model of each family: timm's name, arguments.
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_small_patch14_reg4_dinov2", {**TINY_ARGUMENTS, "class_token": True}),
    "eva": ("vit_small_patch16_dinov3", SMALL),
    "beit": ("beit_base_patch16_224", SMALL),
    "vit-relpos": ("vit_relpos_small_patch16_224", SMALL),
    "cait": ("cait_xxs24_224", SMALL),
    "xcit": ("xcit_nano_12_p8_224", {"img_size": 32, "embed_dim": 48, "num_heads": 3, "eta": 1.0}),
    "naflexvit": ("naflexvit_base_patch16_gap", SMALL),
    "vision-encoder": ("qwen3_vit_88m", {"img_size": 64, "embed_dim": 48, "num_heads": 3}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 32, "patch_size": 2, "window_size": 4, "embed_dim": 12, "num_heads": [1, 2, 2, 4]},
    ),
    "convnext": ("convnext_atto", {"img_size": 32, "dims": [8, 12, 16, 24]}),
    "pvt-v2": ("pvt_v2_b0", {"img_size": 64, "embed_dims": [8, 12, 16, 24], "num_heads": [1, 2, 4, 4]}),
    "davit": (
        "davit_tiny",
        {"img_size": 32, "embed_dims": [8, 12, 16, 24], "num_heads": [1, 2, 4, 4], "window_size": 4, "depths": [1, 1, 3, 1]},
    ),
    "mambaout": ("mambaout_femto", {"img_size": 32, "dims": [8, 12, 16, 24], "depths": [1, 1, 3, 1]}),
    "pit": ("pit_ti_224", {"img_size": 64, "base_dims": [8, 8, 8], "heads": [1, 2, 4]}),
    "tnt": ("tnt_s_patch16_224", {"img_size": 32, "embed_dim": 48, "inner_dim": 8, "num_heads_outer": 3}),
    "swinv2-cr": (
        "swinv2_cr_tiny_224",
        {"img_size": 64, "window_size": 4, "embed_dim": 12, "num_heads": [1, 2, 2, 4], "depths": [1, 1, 3, 2]},
    ),
    "twins": (
        "twins_pcpvt_small",
        {"img_size": 64, "embed_dims": [8, 12, 16, 24], "num_heads": [1, 2, 4, 4], "depths": [2, 2, 4, 2]},
    ),
    "twins-svt-s": (
        "twins_svt_small",
        {
            "img_size": 64,
            "embed_dims": [8, 12, 16, 24],
            "num_heads": [1, 2, 4, 4],
            "wss": [4, 4, 2, 2],
            "depths": [2, 2, 6, 4],
        },
    ),
    "twins-svt": (
        "twins_svt_base",
        {"img_size": 64, "embed_dims": [8, 12, 16, 24], "num_heads": [1, 2, 4, 4], "wss": [4, 4, 2, 2]},
    ),
    "gcvit": ("gcvit_tiny", {"img_size": 64, "embed_dim": 8, "num_heads": [1, 2, 2, 4], "depths": [3, 2, 5, 3]}),
    "gcvit-xt": ("gcvit_xtiny", {"img_size": 64, "embed_dim": 8, "num_heads": [1, 2, 2, 4], "depths": [3, 2, 6, 3]}),
    "gcvit-xxt": ("gcvit_xxtiny", {"img_size": 64, "embed_dim": 8, "num_heads": [1, 2, 2, 4], "depths": [2, 2, 6, 2]}),
    "mvit-v2": (
        "mvitv2_tiny",
        {"img_size": 64, "embed_dim": (16, 16, 32, 32), "num_heads": (1, 1, 2, 2), "depths": [1, 2, 4, 2]},
    ),
    "hiera": ("hiera_tiny_224", {"img_size": 64, "embed_dim": 16, "stages": [1, 3, 4, 2]}),
    "bit": ("resnetv2_50x1_bit", {"img_size": 64, "channels": [128, 128, 256, 256], "stem_chs": 32, "layers": [2, 2, 4, 2]}),
    "metaformer": ("caformer_s18", {"img_size": 64, "dims": [8, 12, 32, 32], "depths": [1, 1, 3, 1]}),
    "poolformer": ("poolformer_s12", {"img_size": 64, "dims": [8, 12, 16, 24], "depths": [1, 1, 3, 1]}),
    "focalnet": ("focalnet_tiny_srf", {"img_size": 64, "embed_dim": 8, "depths": [1, 1, 3, 1]}),
    "nest": (
        "nest_tiny",
        {"img_size": 32, "patch_size": 2, "embed_dims": [8, 12, 16], "num_heads": [1, 2, 4], "depths": [1, 1, 3]},
    ),
    "volo": (
        "volo_d1_224",
        {
            "img_size": 32,
            "embed_dims": [8, 16, 16, 16],
            "num_heads": [1, 2, 2, 2],
            "stem_hidden_dim": 8,
            "layers": [1, 1, 3, 1],
        },
    ),
    "mlp-mixer": ("mixer_s16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 48}),
    "levels": ("levels_tiny", {}),
    "sequencer": (
        "sequencer2d_s",
        {"img_size": 28, "layers": [1, 1, 3, 1], "embed_dims": [12, 12, 16, 16], "hidden_sizes": [4, 4, 4, 4]},
    ),
}
CLASSES = 5
# Pooling multiplies nothing.
WITHOUT_PRODUCTS = ("poolformer",)
# Counting and tracing take seconds: families of one stage and of several, whose blocks alternate, stand for the others.
STANDING_FOR_ALL = ("vit", "eva", "swin", "levels")


def test_every_family_has_an_example_here() -> None:
    with registered():
        assert {family.name for family in families()} == set(EXAMPLES)
    assert "levels" not in {family.name for family in families()}


@pytest.fixture(params=EXAMPLES)
def family(request: pytest.FixtureRequest) -> Iterator[TimmFamily]:
    """Each family; those that are none of tleg's are known while the test runs."""
    with registered():
        name, arguments = EXAMPLES[request.param]
        assert family_covering(name).name == request.param
        found = timm_family_of(describe(name, arguments))
        assert found.name == request.param
        yield found


def some_here_and_all_slowly(some: Iterable[str] = STANDING_FOR_ALL) -> pytest.MarkDecorator:
    """Every family, all but some of them in slow tests."""
    names = [name if name in some else pytest.param(name, marks=pytest.mark.slow) for name in EXAMPLES]
    return pytest.mark.parametrize("family", names, indirect=True)


@pytest.fixture(params=["linear", "piecewise:3"])
def basis(request: pytest.FixtureRequest) -> Basis:
    """One whose first function is 1, and one that has none such."""
    return parse_basis(request.param)


def learngene_of(name: str, arguments: Mapping[str, Any], basis: Basis | None = None) -> Learngene:
    """A learngene of an auxiliary model with random values in all of it, its layers unlike each other."""
    architecture, basis = describe(name, arguments, CLASSES), basis or Basis()
    torch.manual_seed(4)
    model = AuxiliaryModel(architecture, basis)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
        for each in model.running:
            assert isinstance(each, RunningTerms)
            for inner in each.names:
                each.put(inner, 0.3 * torch.randn_like(each.terms(inner)))
    header = LearngeneHeader(architecture, basis, Auxiliary(4), Preprocessing((0.5,) * 3, (0.5,) * 3), measure(architecture))
    return Learngene(header, model.tensors())


@cache
def _example(name: str, basis: Basis) -> Learngene:
    return learngene_of(*EXAMPLES[name], basis)


def a_learngene(family: TimmFamily, basis: Basis | None = None) -> Learngene:
    """The learngene of a family's example, made once. Do not change it."""
    return _example(family.name, basis or Basis())


def images_for(learngene: Learngene) -> torch.Tensor:
    return torch.randn(3, *learngene.header.architecture.input_size, generator=torch.Generator().manual_seed(0))


def test_names_go_there_and_back(family: TimmFamily) -> None:
    name, arguments = EXAMPLES[family.name]
    architecture = describe(name, arguments, CLASSES)
    assert family_of(architecture) is family
    assert timm_family_of(architecture) is family
    profile = architecture.profile(3)
    assert len(profile) == len(family.stages)
    in_timm = list(build(architecture, 3, device="meta").state_dict())
    names = [family.staged_name(each, profile) for each in in_timm]
    assert [family.timm_name(each, profile) for each in names] == in_timm
    assert (names == in_timm) == (family.one_row is None)
    again: set[str] = set()
    for each in {family.learngene_name(each) for each in names}:
        place = family.place(each)
        if place is None:
            again.add(each)
            continue
        assert family.block_name(place.stage, place.inner) == each
        assert each.startswith(family.prefix)
        assert family.part(each) in ("attention", "mlp", "norm")
        again |= {family.layer_name(place.stage, layer, place.inner) for layer in range(profile[place.stage])}
    assert again == set(names)
    assert f"{family.classifier}.weight" in in_timm
    assert f"{family.first_conv}.weight" in in_timm


def test_shapes_that_are_known_without_timm_are_timms(family: TimmFamily) -> None:
    name, arguments = EXAMPLES[family.name]
    architecture = describe(name, arguments, CLASSES)
    state = build(architecture, 1, device="meta").state_dict()
    found = {family.learngene_name(each): tuple(value.shape) for each, value in state.items()}
    shapes = family.parameter_shapes(architecture)
    assert (shapes is None) == (architecture.structure is None)
    if shapes is not None:
        assert shapes == found
        assert list(shapes) == list(found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_rename_what_timm_names_otherwise(family: TimmFamily, layout: Any) -> None:
    name, arguments = EXAMPLES[family.name]
    architecture = describe(name, {**arguments, **({"class_token": False} if family.name == "vit" else {})}, CLASSES)
    try:
        family.check_layout(architecture, layout)
    except ArchitectureError:
        with pytest.raises(ArchitectureError):
            build(architecture, 2, layout=layout)
        return
    auxiliary, other = (
        list(build(architecture, 2, layout=each, device="meta").state_dict()) for each in ("auxiliary", layout)
    )
    assert {family.name_in(layout, each) for each in auxiliary} == set(other)
    assert {family.auxiliary_name(each) for each in other} == set(auxiliary)


def test_what_trains_is_what_is_expanded(family: TimmFamily, basis: Basis) -> None:
    learngene = a_learngene(family, basis)
    images, elastic = images_for(learngene), learngene.elastic()
    auxiliary = AuxiliaryModel.from_learngene(learngene).eval()
    # With gradients: inputs that are not contiguous (Twins-SVT) are multiplied in another way by weights that have none.
    for depth in (1, 2, 5):
        expected = learngene.expand(depth)(images)
        rows, profile = auxiliary.coefficients(depth), auxiliary.profile(depth)
        assert rows.shape == (sum(profile), basis.terms)
        assert torch.equal(elastic(images, depth), expected), depth
        assert torch.equal(auxiliary(images, rows, profile), expected), depth
    again = auxiliary.tensors()
    assert list(again) == list(learngene.tensors)
    assert all(np.array_equal(again[name], values) for name, values in learngene.tensors.items())


def test_layers_follow_the_rule_in_their_own_stage(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    profile = learngene.header.architecture.profile(3)
    state = {family.staged_name(name, profile): value for name, value in learngene.expand_tensors(3).items()}
    seen = 0
    for name, terms in learngene.tensors.items():
        place = family.place(name)
        if place is None:
            assert state[name] is terms
            continue
        depth = profile[place.stage]
        for layer in range(depth):
            expected = terms[0] + np.float32(layer / depth) * terms[1]
            if is_logarithm(name):
                expected = np.exp(expected.astype(np.float64)).astype(np.float32)
            assert np.array_equal(state[family.layer_name(place.stage, layer, place.inner)], expected)
            seen += 1
    assert seen + sum(family.place(name) is None for name in learngene.tensors) == len(state)
    assert any(is_logarithm(name) and family.is_block(name) for name in learngene.tensors) == (family.name == "xcit")


@some_here_and_all_slowly()
def test_gradients_are_the_same_with_checkpointing(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    images, gradients = images_for(learngene), []
    for twice in (False, True):
        model = AuxiliaryModel.from_learngene(learngene).train()
        model.gradient_checkpointing = twice
        torch.manual_seed(1)  # Some drop values of their position tables.
        model(images, model.coefficients(2), model.profile(2)).square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None
        assert gradient.abs().max() > 0, name
        again = gradients[1][name]
        assert again is not None
        assert torch.equal(gradient, again), name


@some_here_and_all_slowly()
def test_cost_is_counted_at_any_depth(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    cost, architecture = learngene.header.cost, learngene.header.architecture
    images = torch.zeros(1, *architecture.input_size)
    for depth in (1, 3, 6):
        model = build(architecture, depth).eval()
        assert cost.parameters.at(depth) == sum(value.numel() for value in model.parameters())
        assert cost.macs.at(depth) == count_macs(model, images)[""]
    for costs in (cost.parameters, cost.macs):
        assert min(costs.mlp, costs.norm, costs.stem, costs.head) > 0
    assert cost.parameters.attention > 0
    assert (cost.macs.attention > 0) == (family.name not in WITHOUT_PRODUCTS)
    assert cost.inference_bytes > 0
    blocks = {
        name: values[0].size
        for name, values in learngene.tensors.items()
        if family.is_block(name) and not is_statistic(name)
    }
    # The cost of a layer is that of one unit of depth: as many blocks as it adds to each stage.
    added = [two - one for one, two in zip(architecture.profile(1), architecture.profile(2), strict=True)]
    for part in ("attention", "mlp", "norm"):
        counted = 0
        for name, size in blocks.items():
            place = family.place(name)
            assert place is not None
            counted += size * added[place.stage] if family.part(name) == part else 0
        assert getattr(cost.parameters, part) == counted, part


def test_files_say_what_is_missing(family: TimmFamily, tmp_path: Path) -> None:
    learngene = a_learngene(family)
    learngene.save(tmp_path / "it.safetensors")
    again = load(tmp_path / "it.safetensors")
    assert again.header.sha256 == learngene.hash()
    assert again.terms.keys() == {name.removeprefix(family.prefix) for name in learngene.tensors if family.is_block(name)}
    name = next(name for name in learngene.tensors if family.is_block(name))
    wrong = Learngene(learngene.header, {**learngene.tensors, name: learngene.tensors[name][:1]})
    with pytest.raises(FileFormatError, match="has 1 terms instead of 2"):
        wrong.verify()


def test_heads_are_found_by_their_own_names(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    kept, new = learngene.expand(1).state_dict(), learngene.expand(1, num_classes=9).state_dict()
    weight = f"{family.classifier}.weight"
    assert np.array_equal(kept[weight].numpy(), learngene.tensors[weight])
    assert len(new[weight]) == 9
    assert not new[f"{family.classifier}.bias"].any()


def test_baselines_have_the_layers_that_they_name(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    shared = baseline(learngene, 2, "share", num_classes=CLASSES)
    skipping = baseline(learngene, 2, "layer-skip", num_classes=CLASSES)
    auxiliary = learngene.expand(learngene.header.auxiliary.depth)
    for stage in range(len(family.stages)):
        layers = [dict(block.named_parameters()) for block in family.blocks(shared, stage)]
        for inner in layers[0]:
            term = torch.from_numpy(learngene.tensors[family.block_name(stage, inner)][0])
            assert all(torch.equal(layer[inner], term) for layer in layers)
        all_layers, skipped = family.blocks(auxiliary, stage), family.blocks(skipping, stage)
        elastic = stage == learngene.header.architecture.elastic
        assert len(all_layers) == (2 if elastic else 1) * len(skipped)
        for index, block in enumerate(skipped):
            expected = all_layers[2 * index if elastic else index].state_dict()
            assert all(torch.equal(value, expected[name]) for name, value in block.state_dict().items())


def test_mimetic_weights_are_for_plain_vits(family: TimmFamily) -> None:
    learngene = a_learngene(family)
    if learngene.header.architecture.structure is None:
        with pytest.raises(InputError, match="mimetic is for ViTs of plain attention"):
            baseline(learngene, 2, "mimetic", num_classes=CLASSES)
    else:
        torch.manual_seed(0)
        state = family.blocks(baseline(learngene, 2, "mimetic", num_classes=CLASSES), 0)[0].state_dict()
        query, key, _ = state["attn.qkv.weight"].split(48)
        assert float((query[:16].T @ key[:16]).diagonal().mean()) > 0.1


# Those of a Swin are also exported at a profile, by tests/models/test_profiles.py.
@some_here_and_all_slowly(("vit", "eva", "levels"))
def test_exports_compute_what_the_descendant_computes(family: TimmFamily, tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    learngene = a_learngene(family)
    learngene.save(path)
    plain = learngene.header.architecture.structure is not None
    kinds: tuple[Any, ...] = ("pytorch", "onnx", "onnx-compact", *(("onnx-elastic",) if plain else ()))
    built = build_exports(BuildRequest(str(path), kinds, (2,), tmp_path / "exports"))
    assert len(built) == len(kinds)
    for item in built:
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5
    request = BuildRequest(str(path), ("pytorch",), (1,), tmp_path / "other head", num_classes=3)
    (other,) = build_exports(request)
    assert other.manifest.model.num_classes == 3
    assert other.manifest.verification is not None
    if not plain:
        with pytest.raises(ArchitectureError, match="has no official layout"):
            build_exports(BuildRequest(str(path), ("pytorch",), (2,), tmp_path / "other", layout="official"))
        with pytest.raises(ArchitectureError, match="is not a plain ViT"):
            build_exports(BuildRequest(str(path), ("onnx-elastic",), (2,), tmp_path / "other"))


def test_terms_of_stages_do_not_meet() -> None:
    with registered():
        model = AuxiliaryModel(describe("levels_tiny", {}, CLASSES), Basis())
        shapes = {key: tuple(value.shape) for key, value in model.terms.items()}
    assert shapes["0/layer/attn/proj/weight"] == (2, 24, 24)
    assert shapes["1/layer/attn/proj/weight"] == (2, 32, 32)
    # Of one stage they are called as inside a block: checkpoints of earlier versions have these names.
    assert "attn/proj/weight" in AuxiliaryModel(describe(*EXAMPLES["vit"], CLASSES), Basis()).terms


def test_names_belong_to_the_family_that_says_so() -> None:
    assert family_covering("levels_tiny").name == "vit", "which says what does not fit"
    with pytest.raises(ArchitectureError, match="cannot be expanded as timm's plain ViTs can"):
        describe("levels_tiny")
    with registered():
        assert family_covering("levels_tiny").name == "levels"
        assert family_covering("deit_tiny_patch16_224").name == "vit"
        with pytest.raises(ArchitectureError, match="timm cannot build 'levels_tiny'"):
            describe("levels_tiny", {"embed_dim": 3})


def test_registering_twice_and_forgetting() -> None:
    class Other(LevelsFamily):
        name = "vit"

    with pytest.raises(ArchitectureError, match="a family 'vit' already"):
        register(Other())
    with pytest.raises(ArchitectureError, match="no family 'levels'"):
        unregister("levels")

    # The facts alone do not take the place of the family that knows timm.
    with pytest.raises(ArchitectureError, match="a family 'vit' already"):
        register(PLAIN_VIT)
    assert isinstance(family_covering("deit_tiny_patch16_224"), TimmFamily)
    assert isinstance(family_covering("deit_tiny_patch16_224"), PlainVit)


def test_models_lists_what_families_list() -> None:
    from tleg.cli.models import known_models

    assert [each.expandable for each in known_models("levels_tiny")] == [False]
    assert not any(each.expandable for each in known_models("sequencer*"))
    with registered():
        assert [each.expandable for each in known_models("levels_tiny")] == [True]
        assert all(each.expandable for each in known_models("sequencer*"))


def test_a_folder_takes_images_of_the_size_that_its_name_implies(tmp_path: Path) -> None:
    # timm makes this one for 224 pixels, unless a folder says that inputs of 256 fix its size.
    small = {"patch_size": 32, "embed_dim": 48, "num_heads": 3, "rel_pos_dim": 16}
    learngene = learngene_of("vit_relpos_base_patch32_plus_rpn_256", small)
    assert learngene.header.architecture.input_size == (3, 256, 256)
    learngene.save(tmp_path / "it.safetensors")
    (built,) = build_exports(BuildRequest(tmp_path / "it.safetensors", ("pytorch",), (1,), tmp_path / "exports"))
    assert built.manifest.verification is not None
    assert built.manifest.verification.relative_error < 1e-5


def test_blocks_that_compute_by_their_number_are_refused() -> None:
    # Differential attention: what is taken away from a layer's attention follows from the layer's number.
    with pytest.raises(ArchitectureError, match=r"compute differently, .*: 'attn\.lambda_init' of blocks\.1 follows"):
        describe("vit_dwee_patch16_reg1_gap_256", {"embed_dim": 48, "num_heads": 3})
