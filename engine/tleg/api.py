"""What the commands do, as functions: the public API of `tleg`, and what the command line calls.

A learngene, a model or a run is named as on the command line (`tleg.references`); a run that is not finished stands for its
last checkpoint. All errors are `tleg.TlegError`s, in one sentence. Importing this needs neither numpy nor torch.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tleg.errors import InputError, concerning
from tleg.learngene.profile import checked, format_depth
from tleg.references import DEFAULT_LEARNGENE, Kind
from tleg.text import format_image_size, read_image_size

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from tleg.export.build import BuildStep, BuiltExport
    from tleg.export.verify import Report
    from tleg.learngene.cost import Budget
    from tleg.learngene.header import Layout, LearngeneHeader
    from tleg.learngene.preview import Preview
    from tleg.learngene.profile import Depth
    from tleg.models.learngene import Learngene
    from tleg.models.weights import Which
    from tleg.recipes.analysis import Analysis
    from tleg.recipes.evaluation import Evaluation
    from tleg.recipes.fitting import Fitting
    from tleg.recipes.prediction import Prediction
    from tleg.runs.slurm import SlurmOptions
    from tleg.study.compare import Comparison
    from tleg.study.results import StudyResults
    from tleg.study.schedule import Progress
    from tleg.training.accuracy import Score
    from tleg.training.analyze import LayerAnalysis
    from tleg.training.fit import FittedLearngene
    from tleg.training.predict import PredictedImage, PreparedPrediction
    from tleg.training.prepared import PreparedEvaluation
    from tleg.training.probe import ProbeResult

Name = str | os.PathLike[str]
ImageSize = int | str | tuple[int, int]  # 160, '160', '128x256', (128, 256)


def path_of(text: Name, *kinds: Kind, field: str = "learngene") -> Path:
    """Return the path of what a text names, of some kinds; for a run that is not finished, of its last checkpoint.

    field  the option or argument that the text is of

    torch is loaded for such a run alone. Raises what `tleg.training.names.resolve_model` raises.
    """
    from tleg.training.names import resolve_model

    with concerning(field):
        return resolve_model(os.fspath(text), *kinds).place


def _text_of(image_size: ImageSize | None) -> str | None:
    size = read_image_size(image_size)
    return None if size is None else format_image_size(size)


def read_header(path_or_name: Name) -> "LearngeneHeader":
    """Return all that a learngene file says of itself, in milliseconds: no tensor is read, nor numpy loaded.

    Raises InputError when there is no such file, FileFormatError when it is no learngene of this version.
    """
    from tleg.learngene.container import read_file

    return read_file(path_of(path_or_name, "learngene")).header


def load(path_or_name: Name) -> "Learngene":
    """Load a learngene with its tensors: float32 arrays, on which expansion needs numpy alone.

    Everything is checked: container, header, names, shapes, finiteness, hash. Raises InputError, FileFormatError, or
    VerificationError when the tensors are not those that were written.
    """
    from tleg.models.learngene import load as load_file

    return load_file(path_of(path_or_name, "learngene"))


def preview(
    learngene: "Name | Learngene | LearngeneHeader" = DEFAULT_LEARNGENE,
    depths: "Iterable[Depth]" = range(1, 25),
    *,
    budget: "Budget | None" = None,
    batch: int = 1,
    image_sizes: "Sequence[ImageSize]" = (),
    profile: Name | None = None,
) -> "Preview":
    """Return what descendants of some depths cost and reach, by the header alone.

    depths   each once, rising in the result
    budget   upper limits: counts for parameters and MACs, bytes for size and memory; each row says what it exceeds
    batch    images, for the estimates of memory

    image_sizes  of the inputs in pixels, one number or (height, width) each; for others than the learngene's torch is
                 loaded, and what descendants cost there is measured
    profile      a device's file, as `tleg benchmark --save-profile` writes it: each row has its latency there

    `rows` of the result have the parameters, the multiply-accumulates for one image, the bytes of float32 weights, of
    inference and of training, and the accuracy in percent where it was measured; `deepest` is the deepest within the budget,
    `choice` the best within it where there are several sizes. Raises InputError (DepthError, ArchitectureError).
    """
    from tleg.learngene.device import read_profile
    from tleg.learngene.header import LearngeneHeader
    from tleg.learngene.preview import preview as make_preview

    if isinstance(learngene, str | os.PathLike):
        header = read_header(learngene)
    else:
        header = learngene if isinstance(learngene, LearngeneHeader) else learngene.header
    device = None if profile is None else read_profile(Path(profile))
    return make_preview(headers_at(header, image_sizes), (checked(depth) for depth in depths), budget, batch, device)


def headers_at(header: "LearngeneHeader", image_sizes: "Sequence[ImageSize]") -> "list[LearngeneHeader]":
    """Return the header with inputs of each size, each once; without any, as it is. Raises InputError, ArchitectureError."""
    sizes = [size for each in image_sizes if (size := read_image_size(each)) is not None] or [header.image_size]
    headers = []
    for size in dict.fromkeys(sizes):
        if size == header.image_size:
            headers.append(header)
            continue
        from tleg.models.image_size import resize_header

        headers.append(resize_header(header, size))
    return headers


def expand(
    learngene: "Name | Learngene",
    depth: "Depth",
    *,
    layout: "Layout" = "auxiliary",
    num_classes: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    drop_path: float = 0.0,
    image_size: ImageSize | None = None,
    seed: int = 0,
) -> "VisionTransformer":
    """Return the descendant of a depth: a plain timm model in eval mode, whose parameters can be trained.

    depth        a number, or a profile, the blocks of every stage, as in (2, 2, 6, 2)

    layout       'auxiliary' normalises, then pools, as the auxiliary model did; 'official' pools, then normalises
    num_classes  another number than the learngene's gives a new head: weights normal with std 0.01, drawn with `seed`,
                 bias zero
    drop_path    timm's rate of stochastic depth, for fine-tuning
    image_size   of the inputs in pixels, one number or (height, width), where it shall be another than the learngene's

    It takes images (N, C, H, W), normalised as the learngene's `header.preprocessing` says, and gives logits (N, classes).
    Raises DepthError, ArchitectureError, ExportError for values beyond the range of float16, and what `load` raises.
    """
    from tleg.models.descendant import expand as expand_loaded

    loaded = load(learngene) if isinstance(learngene, str | os.PathLike) else learngene
    if (size := read_image_size(image_size)) is not None:
        loaded = loaded.at_image_size(size)
    return expand_loaded(loaded, depth, layout=layout, num_classes=num_classes, dtype=dtype, drop_path=drop_path, seed=seed)


def build(
    path_or_name: Name = DEFAULT_LEARNGENE,
    depths: "Sequence[Depth]" = (),
    exports: Sequence[str] = ("pytorch",),
    output: Name = "exports",
    *,
    dtype: str = "float32",
    layout: str | None = None,
    num_classes: int | None = None,
    image_size: ImageSize | None = None,
    seed: int = 0,
    verify: bool = True,
    overwrite: bool = False,
    output_of: str | None = None,
    progress: "Callable[[BuildStep], None] | None" = None,
) -> "tuple[BuiltExport, ...]":
    """Export descendants of a learngene, or the model of a folder that timm loads, each with a manifest.

    depths       of the descendants: numbers, or profiles, the blocks of every stage, as in (2, 2, 6, 2); a format that
                 holds every depth, and a folder, need none
    exports      formats: 'pytorch', 'onnx', 'onnx-compact', 'onnx-elastic'
    output       the folder for the exports; made when it is missing
    dtype        'float32' or 'float16'
    layout       'auxiliary' (the default) or 'official', see `expand`
    num_classes  another number than the learngene's gives a new head, drawn with `seed`, and drops the class names
    image_size   of the inputs in pixels, one number or (height, width); None is that of the learngene or folder, else its
                 weights are resampled
    verify       run each export and compare it with what it was made from, before it is kept
    overwrite    replace exports that exist
    output_of    what the exports give: 'classes', 'pooled', 'tokens', 'blocks:3,6,9' or 'stages:1,4'; None is logits of
                 classes, and the pooled vector of a model without any
    progress     called at every stage

    Returns the exports in the order of `exports`, then `depths`: `path`, `manifest_path`, and the `manifest` with what the
    verification measured. Everything is checked before the first byte is written, and each export appears whole or not at
    all. Raises InputError for what cannot be built, VerificationError when an export computes something else, ExportError.
    """
    from tleg.export.build import build_exports
    from tleg.export.formats import find_format, parse_layout, parse_precision
    from tleg.export.plan import BuildRequest
    from tleg.models.output import parse_output

    request = BuildRequest(
        learngene=path_of(path_or_name, "learngene", "folder"),
        kinds=tuple(find_format(each).name for each in exports),
        depths=tuple(depths),
        output=Path(output),
        precision=parse_precision(dtype),
        layout=None if layout is None else parse_layout(layout),
        num_classes=num_classes,
        image_size=read_image_size(image_size),
        seed=seed,
        overwrite=overwrite,
        verify=verify,
        output_of=None if output_of is None else parse_output(output_of),
    )
    return build_exports(request, progress)


def verify(path_or_name: Name, learngene: Name | None = None) -> "Report":
    """Check a learngene, an ONNX export or a folder again: its bytes, that it runs, that it computes what it should.

    learngene  what an export was made from (a learngene or a folder), where it is not found beside it

    What is wrong is in the result: `passed`, and `checks` with a name, an outcome and what was found. Raises InputError when
    there is nothing at the path, or `learngene` is not what the export names.
    """
    from tleg.export.verify import check_path

    return check_path(
        path_of(path_or_name, "learngene", "folder", "export", field="path"),
        None if learngene is None else path_of(learngene, "learngene", "folder"),
    )


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
        image_size=_text_of(image_size),
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
    top: int | None = None,
    batch_size: int = 64,
    workers: int = 0,
    device: str = "auto",
    precision: str = "float32",
    image_size: ImageSize | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> "tuple[PredictedImage, ...]":
    """Say which classes a model sees in image files, or in the images of folders, prepared as in evaluation.

    depth     of a learngene or an elastic export, which need one; nothing else takes it
    top       how many classes to name; None is five for one image and one for several
    progress  called with (images done, images in all)

    An image that cannot be read has no classes, and says why. Raises InputError, DataError where no image can be read,
    FileFormatError.
    """
    from tleg.recipes.prediction import Prediction

    options = Prediction(
        depth=None if depth is None else format_depth(checked(depth)),
        top=top,
        batch_size=batch_size,
        workers=workers,
        device=device,
        precision=precision,
        image_size=_text_of(image_size),
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
        image_size=_text_of(image_size),
    )
    return prepare_probe(path_or_name, options).run(progress)


def analyze(
    path_or_name: Name,
    *,
    depth: int | None = None,
    bases: Sequence[str] = ("linear", "chebyshev:2", "chebyshev:3"),
    shuffles: int = 100,
    data: Name | None = None,
    images: int = 16,
    pretrained: bool = False,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: ImageSize | None = None,
    weights: "Which | None" = None,
    seed: int = 0,
) -> "LayerAnalysis":
    """Return how linear the layers of a model are in their position: what a learngene's basis could express of it.

    path_or_name  a learngene, a folder, 'TIMM_NAME:FILE', a run, or a name of timm (with random weights)
    depth         of a learngene's descendant (default: the auxiliary model's)
    bases         as on the command line
    shuffles      random orders of the layers to compare with, drawn with `seed`
    data          images to compare the layers' outputs on; None is noise
    images        how many; 0 compares the layers' weights
    pretrained    of a name of timm: its pretrained weights, which are downloaded

    model_arguments, image_size, weights  of `timm.create_model`, a folder or a file of weights

    Of every parameter inside a block, and of all together, the result has the R^2 of each basis beyond the mean over layers,
    beside that of shuffled layers, and the layers' principal components; and how alike layers are. Raises InputError,
    ArchitectureError for a model without equal blocks, FileFormatError, DataError.
    """
    from tleg.recipes.analysis import Analysis

    options = Analysis(
        depth=depth,
        pretrained=pretrained,
        model_arguments=dict(model_arguments or {}),
        image_size=_text_of(image_size),
        weights=weights,
        bases=tuple(bases),
        shuffles=shuffles,
        data=None if data is None else os.fspath(data),
        images=images,
        seed=seed,
    )
    return run_analysis(path_or_name, options)


def run_analysis(path: Name, options: "Analysis") -> "LayerAnalysis":
    """Analyse a model as `tleg analyze` does. See `analyze`."""
    from tleg.training.analyze import analyze_model

    return analyze_model(os.fspath(path), options)


def fit(
    path_or_name: Name,
    basis: str = "linear",
    *,
    expand: str = "attention,mlp,norm",
    pretrained: bool = False,
    model_arguments: Mapping[str, Any] | None = None,
    image_size: ImageSize | None = None,
    weights: "Which | None" = None,
    shuffles: int = 100,
    seed: int = 0,
) -> "FittedLearngene":
    """Return the learngene that comes closest to a trained model, by least squares: a start for `tleg learn --start`.

    path_or_name  a folder, 'TIMM_NAME:FILE', a run, or a name of timm (with random weights)
    basis, expand as on the command line; the other options as in `analyze`

    `learngene` of the result has the model's stem, norms and head, and `report` says how much of its layers the fit is: of
    each stage and parameter R^2 beside that of shuffled layers, and the relative distance from each layer. Raises
    InputError, ArchitectureError for a model that cannot be expanded, FileFormatError.
    """
    from tleg.recipes.fitting import Fitting

    options = Fitting(
        basis=basis,
        expand=expand,
        pretrained=pretrained,
        model_arguments=dict(model_arguments or {}),
        image_size=_text_of(image_size),
        weights=weights,
        shuffles=shuffles,
        seed=seed,
    )
    return run_fit(path_or_name, options)


def run_fit(path: Name, options: "Fitting") -> "FittedLearngene":
    """Fit a learngene to a model as `tleg fit` does. See `fit`."""
    from tleg.training.fit import fit as fit_named

    return fit_named(os.fspath(path), options)


def run_study(
    file: Name,
    output: Name | None = None,
    *,
    slots: "int | Literal['auto'] | None" = None,
    slurm: "SlurmOptions | None" = None,
    wait: bool = True,
    overwrite: bool = False,
    progress: "Callable[[Progress], None] | None" = None,
) -> "StudyResults":
    """Train what a study's file asks for and is not trained yet, and return what was measured.

    output     the study's folder; None is the file without its ending
    slots      trainings at a time, each with its part of the processor's cores; None is one, 'auto' one for each GPU. Jobs
               in SLURM's queue at a time; None is as many as there are
    slurm      every training is a batch job that asks for this
    wait       until all is trained; False, with `slurm` alone, submits what can be submitted by now
    overwrite  train anew what the file now says otherwise than when it was trained
    progress   called with all that happens

    The results are in `results.json` of the folder as well, as far as they are known, at any moment. Raises InputError
    before the first training for what is wrong in the file; a training that fails is in the results. KeyboardInterrupt
    saves and stops the trainings at work, and takes waiting jobs out of the queue.
    """
    from tleg.errors import InputError
    from tleg.study.batch import Batch
    from tleg.study.file import read_study
    from tleg.study.folder import StudyFolder
    from tleg.study.plan import check_grid
    from tleg.study.schedule import Scheduler
    from tleg.study.slots import Here, count_devices

    if slots == "auto":
        slots = max(1, count_devices())
    if slurm is None and not wait:
        raise InputError("only jobs of SLURM go on without who waits for them", field=("wait", "slurm"), code="conflict")
    path = Path(file)
    study = read_study(path)
    folder = StudyFolder(path.with_suffix("") if output is None else Path(output))
    place = Here(1 if slots is None else slots) if slurm is None else Batch(slurm, slots)
    scheduler = Scheduler(study, folder, place, force=overwrite, report=progress or (lambda _: None))
    check_grid(study, scheduler.plan)
    return scheduler.train(wait=wait)


def compare_runs(runs: "Sequence[Name]", runs_dir: Name | None = None) -> "Comparison":
    """Return runs side by side, finished or not: options in which they differ, accuracy by depth, what they cost.

    runs      two or more, as on the command line: ids, the beginnings of them, 'last', or paths
    runs_dir  the folder of the runs; None is the usual one

    Runs that differ in their seed alone are one arm; `arms` of the result compares every other arm with the first run's, by
    the seeds that both have, unless data differ. Files are read alone; torch is not loaded. Raises InputError for a name
    that is none and for fewer than two runs, FileFormatError for a run that is damaged.
    """
    from tleg.paths import runs_folder
    from tleg.runs.listing import resolve_run
    from tleg.study.compare import compare_folders

    place = runs_folder() if runs_dir is None else Path(runs_dir)
    return compare_folders([resolve_run(os.fspath(run), place) for run in runs])
