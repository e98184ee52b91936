"""The engine on a CUDA device. `pytest -m gpu` runs these where there is one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.conftest import ARGUMENTS, PLAIN, VIT, Recorder, finetune_job, learn_job, load_digits_data
from tleg.data.loader import Prefetcher, batches, worker_options
from tleg.data.sampler import ShuffledBatches, TrainingImages
from tleg.data.transforms import training_transform
from tleg.learngene.header import Preprocessing
from tleg.models.learngene import Learngene
from tleg.recipes.distillation import Depths
from tleg.recipes.training import Keeping, Recipe
from tleg.training.checkpoint import Checkpoints
from tleg.training.device import choose_placement
from tleg.training.evaluate import evaluate_subject
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene, init_from_timm
from tleg.training.learn import evaluate_learngene, learn
from tleg.training.observer import TrainingStoppedError
from tleg.training.subjects import open_subject
from tleg.training.telemetry import DeviceSampler

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", autouse=True)
def _needs_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.fail("these tests were asked for (-m gpu), and torch sees no CUDA device")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learngene]:
    root, digits, placement = tmp_path_factory.mktemp("cuda"), load_digits_data(), choose_placement("cuda")
    recipe = Recipe(epochs=10, batch_size=32, learning_rate=3e-3, workers=2, augmentation=PLAIN, mixup=0.2, cutmix=0.5)
    arguments = {"in_chans": 1, "channels": [16, 16, 32, 32], "stem_width": 16}
    ancestor = finetune_job(digits, init_from_timm("resnet10t", arguments), recipe=replace(recipe, mixup=0.0, cutmix=0.0))
    reached = finetune(ancestor, placement, root / "ancestor").top1
    assert reached is not None
    assert reached > 70
    job = learn_job(digits, VIT, ARGUMENTS, teacher=str(root / "ancestor"), depths=Depths(4, (2, 3, 4)), recipe=recipe)
    learngene = evaluate_learngene(learn(job, placement), digits, placement, (2, 3, 4))
    learngene.save(root / "gene.safetensors")
    return root, learngene


def test_a_learngene_is_learned_in_the_precision_of_the_device(chain: tuple[Path, Learngene]) -> None:
    _, learngene = chain
    assert learngene.header.learned["precision"] == choose_placement("cuda").precision
    assert learngene.header.reached is not None
    assert min(learngene.header.reached.top1.values()) > 40


def test_the_gpu_and_the_cpu_agree_on_accuracy(chain: tuple[Path, Learngene]) -> None:
    root, learngene = chain
    digits, cpu = load_digits_data(), choose_placement("cpu")
    scores = evaluate_subject(open_subject(str(root / "gene.safetensors"), cpu, (2, 3, 4)), digits, cpu)
    assert learngene.header.reached is not None
    for depth, top1 in learngene.header.reached.top1.items():
        assert scores[depth].top1 == pytest.approx(top1, abs=0.6)


def test_the_elastic_model_equals_the_descendant_on_the_device(chain: tuple[Path, Learngene]) -> None:
    _, learngene = chain
    images = torch.randn(4, 1, 8, 8, device="cuda")
    elastic = learngene.elastic().cuda()
    with torch.inference_mode():
        for depth in (1, 3, 9):
            assert torch.allclose(elastic(images, depth), learngene.expand(depth).cuda()(images), atol=1e-4)


def test_exports_are_evaluated_beside_a_gpu(chain: tuple[Path, Learngene]) -> None:
    from tleg.export.build import build_exports
    from tleg.export.plan import BuildRequest

    root, learngene = chain
    build_exports(BuildRequest(str(root / "gene.safetensors"), kinds=("onnx",), depths=(3,), output=root / "exports"))
    placement = choose_placement("cuda")
    subject = open_subject(str(root / "exports" / "gene-depth3.onnx"), placement, None)
    score = evaluate_subject(subject, load_digits_data(), placement)[3]
    assert learngene.header.reached is not None
    assert score.top1 == pytest.approx(learngene.header.reached.top1[3], abs=0.6)


def test_a_descendant_is_fine_tuned(chain: tuple[Path, Learngene]) -> None:
    root, learngene = chain
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=5e-4, workers=0, augmentation=PLAIN)
    job = finetune_job(load_digits_data(), init_from_learngene(str(root / "gene.safetensors"), 3), recipe=recipe)
    score = finetune(job, choose_placement("cuda"), root / "tuned")
    assert learngene.header.reached is not None
    assert score.top1 is not None
    assert score.top1 > learngene.header.reached.top1[3] - 10


def test_the_auxiliary_model_compiles(chain: tuple[Path, Learngene]) -> None:
    _, learngene = chain
    elastic = learngene.elastic().cuda()
    images, coefficients = torch.randn(4, 1, 8, 8, device="cuda"), elastic.coefficients(3)
    compiled = torch.compile(super(type(elastic), elastic).forward)
    assert torch.allclose(compiled(images, coefficients), elastic(images, 3), atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_an_interrupted_training_goes_on(precision: str, tmp_path: Path) -> None:
    placement = choose_placement("cuda", precision)
    recipe = Recipe(epochs=2, batch_size=32, learning_rate=2e-3, workers=2, augmentation=PLAIN, ema=0.9, accumulate=2)
    keeping = Keeping(evaluate_every=1)
    job = learn_job(load_digits_data(), VIT, ARGUMENTS, depths=Depths(3, (2, 3)), recipe=recipe, keeping=keeping)
    with pytest.raises(TrainingStoppedError):
        learn(job, placement, observer=Recorder(stop_after=50), checkpoints=Checkpoints(tmp_path, keeping))
    stored, _ = Checkpoints(tmp_path).latest()
    assert stored is not None
    assert (stored.progress.scaler is not None) == (precision == "float16")
    recorder = Recorder()
    resumed = learn(job, placement, observer=recorder, checkpoints=Checkpoints(tmp_path, keeping))
    whole = learn(job, placement)
    assert recorder.begun_at == stored.progress.step
    # Kernels of a GPU may add in another order.
    for name, value in whole.tensors.items():
        assert float(abs(value - resumed.tensors[name]).max()) < (1e-5 if precision == "float32" else 2e-2)


def test_accumulated_parts_make_the_step_of_the_whole_batch() -> None:
    learngenes = []
    for accumulate in (1, 4):
        recipe = Recipe(
            epochs=1,
            batch_size=64,
            optimizer="sgd",
            learning_rate=0.05,
            workers=0,
            augmentation=PLAIN,
            accumulate=accumulate,
        )
        job = learn_job(load_digits_data(), VIT, ARGUMENTS, depths=Depths(3), recipe=recipe)
        learngenes.append(learn(job, choose_placement("cuda", "float32")))
    first, second = learngenes
    assert max(float(abs(value - second.tensors[name]).max()) for name, value in first.tensors.items()) < 1e-4


def test_a_compiled_training_learns(chain: tuple[Path, Learngene]) -> None:
    root, _ = chain
    recipe = Recipe(epochs=4, batch_size=32, learning_rate=3e-3, workers=2, augmentation=PLAIN, compile=True)
    teacher, depths = str(root / "ancestor"), Depths(4, (2, 3, 4))
    job = learn_job(load_digits_data(), VIT, ARGUMENTS, teacher=teacher, depths=depths, recipe=recipe)
    learngene = evaluate_learngene(learn(job, choose_placement("cuda")), load_digits_data(), choose_placement("cuda"), (3,))
    assert learngene.header.reached is not None
    assert learngene.header.reached.top1[3] > 25


def test_the_gpu_is_sampled() -> None:
    (device,) = DeviceSampler(torch.device("cuda", 0)).sample()["devices"]
    assert device["index"] == 0
    assert device["name"]
    assert 0 < device["memory_used"] <= device["memory_total"]
    assert 0 <= device["utilisation"] <= 100


def test_batches_arrive_whole_on_the_gpu() -> None:
    data = load_digits_data()
    transform = training_transform((1, 8, 8), Preprocessing((0.3,), (0.4,)), PLAIN)

    def loader() -> DataLoader[Any]:
        order = ShuffledBatches(len(data.train), 64, 1, 0)
        return DataLoader(
            TrainingImages(data.train, transform, 0), batch_sampler=order, pin_memory=True, **worker_options(2)
        )

    plain = list(batches(loader()))
    moved = [(pixels.cpu(), labels.cpu()) for pixels, labels, _ in Prefetcher(loader(), torch.device("cuda"))]
    assert len(plain) == len(moved)
    for (pixels, labels, _), (other, same) in zip(plain, moved, strict=True):
        assert torch.equal(pixels, other)
        assert torch.equal(labels, same)
