"""What models do with images: accuracies, predictions, measures of features."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tleg.api.names import ImageSize, Name, text_of
from tleg.errors import InputError, concerning
from tleg.learngene.cascade import depths_text
from tleg.learngene.profile import checked, format_depth

if TYPE_CHECKING:
    from tleg.learngene.device import DeviceProfile
    from tleg.learngene.profile import Depth
    from tleg.recipes.evaluation import Evaluation
    from tleg.recipes.prediction import Prediction
    from tleg.training.accuracy import Score
    from tleg.training.predict import PredictedImage, PreparedPrediction
    from tleg.training.prepared import PreparedEvaluation
    from tleg.training.probe import ProbeResult


def evaluate(
    path_or_name: Name,
    data: Name,
    depths: "Iterable[Depth] | None" = None,
    *,
    split: Literal["train", "val", "test"] | None = None,
    validation_split: float | None = None,
    seed: int | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "dict[Depth | None, Score]":
    """Measure accuracies of a learngene, a folder, 'TIMM_NAME:FILE', a run or an ONNX export, all depths in one pass.

    data      as `--data` of the command line: 'fashion-mnist', a folder of images, an archive
    depths    of a learngene (default 1 to 16) or an elastic export; nothing else takes them
    split     of the data's own; None is what training held out, else the validation or the test images
    limit     look at so many images only, spread over all
    device    'auto', 'cpu', 'cuda' or 'cuda:N'
    progress  called with (images done, images in all)

    image_size        of the inputs in pixels, one number or (height, width), of what is no export; its weights are resampled
    validation_split  evaluate on this part of the training images, drawn with `seed` as a training with it does

    Returns {depth: Score}, with the key None for a model of a depth that is not known. `top1` and `top5` are percentages;
    they are None where outputs were not finite (`nonfinite` counts the images). `tleg.api.prepare_evaluation` takes all
    options of `tleg evaluate`. Raises InputError, DataError, FileFormatError.
    """
    from tleg.recipes.evaluation import Evaluation
    from tleg.recipes.images import EvaluatedImages

    options = Evaluation(
        data=os.fspath(data),
        depths=None if depths is None else ",".join(format_depth(checked(depth)) for depth in depths),
        images=EvaluatedImages(split=split),
        validation_split=validation_split,
        seed=seed,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        device=device,
        precision=precision,
        image_size=text_of(image_size),
    )
    return prepare_evaluation(path_or_name, options).run(progress)


def prepare_evaluation(path: Name, options: "Evaluation") -> "PreparedEvaluation":
    """Open what is evaluated and the images, as `tleg evaluate` does. Nothing is written, `options.record` or not.

    Raises InputError, DataError, FileFormatError.
    """
    from tleg.training.prepared import prepare_evaluation as prepare

    return prepare(path, options)


def predict(
    path_or_name: Name,
    images: "Name | Iterable[Name]",
    depth: "Depth | None" = None,
    *,
    cascade: Sequence[int] | None = None,
    threshold: float | None = None,
    temperature: float | None = None,
    top: int | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "tuple[PredictedImage, ...]":
    """Say which classes a model sees in image files, or in the images of folders, prepared as in evaluation.

    depth     of a learngene or an elastic export, which need one or a cascade; nothing else takes it
    cascade   depths, the shallowest first, of which the first that is sure answers: an image costs all that were asked
    top       how many classes to name; None is five for one image and one for several
    progress  called with (images done, images in all)

    threshold    of a cascade, the probability that is enough, 0 to 1; None is the policy that the model keeps
    temperature  what outputs are divided by before they become probabilities; None is what the model keeps, else 1

    An image that cannot be read has no classes, and says why. Raises InputError, DataError where no image can be read,
    FileFormatError.
    """
    from tleg.recipes.prediction import Prediction

    options = Prediction(
        depth=None if depth is None else format_depth(checked(depth)),
        cascade=None if cascade is None else depths_text(cascade),
        threshold=threshold,
        temperature=temperature,
        top=top,
        batch_size=batch_size,
        workers=workers,
        device=device,
        precision=precision,
        image_size=text_of(image_size),
    )
    places = [images] if isinstance(images, str | os.PathLike) else list(images)
    return prepare_prediction(path_or_name, places, options).run(progress)


def prepare_prediction(path: Name, images: Sequence[Name], options: "Prediction") -> "PreparedPrediction":
    """Open the model and find the images, as `tleg predict` does. Raises InputError, DataError, FileFormatError."""
    from tleg.training.predict import prepare_prediction as prepare

    return prepare(path, images, options)


def probe(
    path_or_name: Name,
    data: Name,
    *,
    knn: bool = True,
    linear: bool = True,
    retrieval: bool = True,
    neighbours: int = 20,
    depths: "Sequence[Depth] | None" = None,
    validation_split: float | None = None,
    seed: int | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "ProbeResult":
    """Measure pooled features of a learngene, with or without a head, of a folder or weights, on a data set with classes.

    knn         accuracy of the votes of the `neighbours` training images with the largest cosine, weighted by
                exp(cosine / 0.07) (Wu et al., arXiv 1805.01978; DINO, arXiv 2104.14294)
    linear      accuracy of multinomial logistic regression on standardised features, fitted to the training images; its L2
                strength is chosen on a fifth of them
    retrieval   mean average precision over the validation images, each a query against all others by cosine
    limit       look at so many training and so many validation images only, spread over all
    progress    called with (images done, images in all)

    Other parameters are those of `evaluate`. Returns a `ProbeResult`: `scores` by depth, with figures in percent; nothing in
    it is random. Raises InputError where there are no features, or nothing is asked for, DataError, FileFormatError.
    """
    from tleg.recipes.evaluation import Evaluation
    from tleg.training.probe import prepare_probe

    if not (knn or linear or retrieval):
        raise InputError("ask for knn, linear or retrieval", field="knn", code="missing")
    options = Evaluation(
        data=os.fspath(data),
        depths=None if depths is None else ",".join(format_depth(checked(depth)) for depth in depths),
        knn=knn,
        neighbours=neighbours if knn else 20,
        linear_probe=linear,
        retrieval=retrieval,
        validation_split=validation_split,
        seed=seed,
        batch_size=batch_size,
        limit=limit,
        workers=workers,
        device=device,
        precision=precision,
        image_size=text_of(image_size),
    )
    return prepare_probe(path_or_name, options).run(progress)


def benchmark(
    path_or_name: Name,
    *,
    depths: Sequence[int] | None = None,
    runtime: Literal["onnxruntime", "torch"] | None = None,
    export: str = "onnx",
    dtype: str = "float32",
    calibration: Name | None = None,
    calibration_images: int | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    batch: int = 1,
    seconds: float = 10.0,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: ImageSize | None = None,
    save_profile: Name | None = None,
    overwrite: bool = False,
    progress: Callable[[float], object] | None = None,
) -> "DeviceProfile":
    """Measure latency on this machine: of a learngene at a few depths in turn, an export, a folder, weights or a run.

    depths           of a learngene or an elastic export; None: the shallowest and the auxiliary's, and one between to check
    runtime          None: ONNX Runtime, and PyTorch for a folder or weights
    export           of a learngene: the format to measure
    dtype            the number type of the exports that are measured, as of `build`; 'int8' needs images, `calibration`, and
                     takes so many of them (`calibration_images`, 512)
    provider         of ONNX Runtime, or PyTorch's device
    threads          of one run; None: as `tleg.threads` chooses them
    batch            images at once
    seconds          of the measurement, all depths together
    model_arguments  for timm, of a folder or weights
    image_size       of the inputs in pixels, of what is no export
    save_profile     a file to write the profile to; `overwrite` replaces one that exists
    progress         called with the part that is done, 0 to 1

    Seconds of the profile are for a batch: `points` has median and tails of what was measured, `latency(depth)` what follows
    for a depth, and `tleg.preview(profile=...)` takes it. Raises InputError, ExportError, FileFormatError.
    """
    from tleg.files import check_file
    from tleg.latency.benchmark import measure_latency
    from tleg.learngene.device import write_profile
    from tleg.recipes.benchmark import Benchmark

    options = Benchmark(
        depths=None if depths is None else ",".join(format_depth(checked(depth)) for depth in depths),
        runtime=runtime,
        export=export,
        dtype=dtype,
        calibration=None if calibration is None else os.fspath(calibration),
        calibration_images=calibration_images,
        provider=provider,
        threads="auto" if threads is None else str(threads),
        batch=batch,
        seconds=seconds,
        model_arguments=model_arguments or {},
        image_size=text_of(image_size),
    )
    if save_profile is not None:
        with concerning("save-profile"):
            check_file(Path(save_profile), overwrite=overwrite)
    profile = measure_latency(path_or_name, options, progress)
    if save_profile is not None:
        with concerning("save-profile"):
            write_profile(profile, Path(save_profile), overwrite=overwrite)
    return profile
