"""What is measured: the exports or models of a learngene at a few depths, an export, or a folder, side by side."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import InputError
from tleg.export.backend import OpenExport, backend_of
from tleg.export.build import BuiltExport, build_exports
from tleg.export.formats import find_format, format_of_path, parse_precision
from tleg.export.plan import BuildRequest
from tleg.files import new_folder
from tleg.latency import measuring
from tleg.learngene.container import read_file
from tleg.learngene.device import NOT_AFFINE, DeviceProfile
from tleg.models.learngene import load
from tleg.recipes.benchmark import OPENVINO, Benchmark
from tleg.references import Reference
from tleg.serialize import decode, to_json
from tleg.threads import choose_threads
from tleg.training.names import resolve_model
from tleg.training.subjects import is_export, refuse_depths
from tleg.versions import versions

PROGRAM: Final = "measure.py"
_FILES: Final = "files.json"
_ONNX_RUNTIME: Final = "onnxruntime"
_README: Final = """Measure these ONNX files on a device: it needs Python 3.9 or newer, numpy and onnxruntime.

    python measure.py > profile.json

--help names the options. Take the profile back: tleg preview LEARNGENE --profile profile.json --max-latency 20ms
"""
# Depths around the middle of those that were measured, where latency turned out not to be affine.
_MORE: Final = (0.25, 0.75)
Progress = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class _Timed:
    """One thing to time. path of an ONNX file, else `run`, which computes a batch."""

    depth: int | None
    path: Path | None = None
    run: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What was opened.

    at       gives what is timed at some depths, None for something that has one depth alone
    default  depths that are measured where none were asked for
    runtime  the package that computes what ONNX Runtime is not given
    """

    about: dict[str, Any]
    at: Callable[[Sequence[int] | None], list[_Timed]]
    default: tuple[int, ...] | None = None
    runtime: str = "torch"


def measure_latency(target: str | os.PathLike[str], options: Benchmark, progress: Progress | None = None) -> DeviceProfile:
    """Measure an export, a folder, weights, a run or a learngene, all its depths side by side.

    Where the line through the shallowest and the deepest is off by more than a tenth between, two more depths are measured.

    progress  called with the part that is done, 0..1

    Raises InputError, ExportError, FileFormatError.
    """
    threads = choose_threads(options.threads, workers=0).count
    with (
        tempfile.TemporaryDirectory(prefix="tleg-benchmark-") as folder,
        _opened(target, options, threads, Path(folder)) as it,
    ):
        depths = options.chosen_depths or it.default
        profile = _measure(it, depths, options, threads, progress)
        more = _more_depths(profile, depths) if options.chosen_depths is None else ()
        return _measure(it, (*(depths or ()), *more), options, threads, progress) if more else profile


def write_bundle(
    target: str | os.PathLike[str], options: Benchmark, folder: Path, *, overwrite: bool = False
) -> tuple[str, ...]:
    """Write the ONNX files to measure on a device without tleg, and the program that measures them. Returns their names.

    Raises InputError for what ONNX Runtime does not run, ExportError.
    """
    with (
        tempfile.TemporaryDirectory(prefix="tleg-benchmark-") as temporary,
        _opened(target, options, 1, Path(temporary)) as it,
        new_folder(folder, overwrite=overwrite, own=written_by_bundle(folder)) as place,
    ):
        timed = it.at(options.chosen_depths or it.default)
        if any(each.path is None for each in timed):
            raise InputError(
                "a bundle holds ONNX files, for --runtime onnxruntime", field=("bundle", "runtime"), code="conflict"
            )
        entries = []
        for each in timed:
            assert each.path is not None
            shutil.copyfile(each.path, place / each.path.name)
            entries.append({"path": each.path.name, "depth": each.depth})
        document = {"files": entries, "batch": options.batch, "about": it.about}
        (place / _FILES).write_text(to_json(document), encoding="utf-8")
        (place / "README.txt").write_text(_README, encoding="utf-8")
        (place / PROGRAM).write_text((files("tleg.latency") / "measuring.py").read_text(encoding="utf-8"), encoding="utf-8")
        return tuple(sorted(path.name for path in place.iterdir()))


def written_by_bundle(folder: Path) -> frozenset[str]:
    """The names in a folder that a bundle consists of, so that another may replace them."""
    if not (folder / PROGRAM).is_file() or not (folder / _FILES).is_file():
        return frozenset()
    return frozenset({PROGRAM, _FILES, "README.txt", *(path.name for path in folder.glob("*.onnx"))})


def _measure(
    subject: _Subject, depths: Sequence[int] | None, options: Benchmark, threads: int, progress: Progress | None
) -> DeviceProfile:
    timed = subject.at(sorted(set(depths)) if depths else None)
    if all(each.path is not None for each in timed):
        provider = _provider(options.provider)
        points = measuring.measure_files(
            [{"path": str(each.path), "depth": each.depth} for each in timed],
            provider,
            threads,
            options.batch,
            options.seconds,
            progress,
        )
        runtime = measuring.onnx_runtime(provider)
    else:
        runs = {index: each.run for index, each in enumerate(timed) if each.run is not None}
        samples = measuring.interleave(runs, options.seconds, tell=progress)
        points = [{"depth": each.depth, **measuring.summarise(samples[index])} for index, each in enumerate(timed)]
        version = getattr(import_module(subject.runtime), "__version__", versions(subject.runtime)[subject.runtime])
        runtime = {"name": subject.runtime, "version": str(version), "provider": options.provider}
    document = measuring.profile_of(points, subject.about, runtime, threads, options.batch)
    return decode(DeviceProfile, document, "the measurement")


def _more_depths(profile: DeviceProfile, depths: Sequence[int] | None) -> tuple[int, ...]:
    """Depths to measure in addition, where the line does not hold."""
    if depths is None or profile.check is None or profile.check.error <= NOT_AFFINE:
        return ()
    low, high = min(depths), max(depths)
    return tuple({round(low + part * (high - low)) for part in _MORE} - set(depths))


def _provider(name: str) -> str:
    try:
        return measuring.find_provider(name)
    except ValueError as error:
        raise InputError(str(error), field="provider", code="unknown-name") from error


@contextmanager
def _opened(target: str | os.PathLike[str], options: Benchmark, threads: int, folder: Path) -> Iterator[_Subject]:
    reference = resolve_model(os.fspath(target), "learngene", "folder", "weights", "export", "run")
    if is_export(reference):
        yield _export(reference.place, options, threads)
    elif reference.kind in ("folder", "weights"):
        yield _model(reference, options, threads, folder)
    else:
        yield _learngene(reference.place, options, threads, folder)


def _learngene(path: Path, options: Benchmark, threads: int, folder: Path) -> _Subject:
    header = read_file(path).header
    about = {
        "export": options.export if options.runtime != "torch" else "pytorch",
        "dtype": options.dtype,
        "image_size": list(options.pixels or header.image_size),
        "learngene": header.sha256,
    }
    deepest = max(3, header.auxiliary.depth)
    shallowest = max(1, deepest // 4)
    default = (shallowest, (shallowest + deepest) // 2, deepest)
    if options.runtime == "torch":
        learngene = load(path) if options.pixels is None else load(path).at_image_size(options.pixels)
        size = learngene.header.architecture.input_size

        def run_at(depths: Sequence[int] | None) -> list[_Timed]:
            chosen = depths or default
            dtype: Literal["float32", "float16"] = "float16" if options.dtype == "float16" else "float32"
            models = (learngene.expand(depth, dtype=dtype) for depth in chosen)
            return [
                _Timed(depth, run=_torch_run(model, size, options, threads))
                for depth, model in zip(chosen, models, strict=True)
            ]

        return _Subject(about, run_at, default)

    def build_at(depths: Sequence[int] | None) -> list[_Timed]:
        chosen = tuple(depths or default)
        request = BuildRequest(
            path,
            (options.export,),
            chosen,
            Path(tempfile.mkdtemp(dir=folder)),
            precision=parse_precision(options.dtype),
            image_size=options.pixels,
            verify=False,
        )
        built = _build(request, options)
        if options.export == OPENVINO:
            backend = backend_of(find_format(OPENVINO))
            opened = (backend.open_to_time(each.path, threads) for each in built)
            return [_Timed(depth, run=export_run(each, options.batch)) for depth, each in zip(chosen, opened, strict=True)]
        if len(built) == 1:  # One file that holds every depth, or one depth.
            return [_Timed(depth, built[0].path) for depth in chosen]
        return [_Timed(depth, each.path) for depth, each in zip(chosen, built, strict=True)]

    return _Subject(about, build_at, default, OPENVINO)


def _export(path: Path, options: Benchmark, threads: int) -> _Subject:
    entry = format_of_path(path.name, is_folder=path.is_dir())
    if entry is None:
        raise InputError(f"{path} has no suffix of a format that tleg writes", field="target", code="wrong-kind")
    onnx = _ONNX_RUNTIME in entry.runtime
    _refuse_what_is_built_in(options, onnx=onnx)
    backend = backend_of(entry)
    opened = backend.open(path) if onnx else backend.open_to_time(path, threads)
    if opened.interface.batch not in (None, options.batch):
        raise InputError(
            f"{path} takes {opened.interface.batch} images at once: --batch {opened.interface.batch}",
            field=("batch", "target"),
            code="conflict",
        )
    learngene = None if opened.known_lineage is None else opened.known_lineage.learngene
    about = {
        "export": opened.format.name,
        "dtype": opened.precision,
        "image_size": list(opened.input_size[1:]),
        "learngene": None if learngene is None else learngene.sha256,
    }
    own = opened.depth if isinstance(opened.depth, int) else None
    if not onnx:
        run = export_run(opened, options.batch)
        refuse_depths(options.chosen_depths, "depths", f"{path} holds one model")
        return _Subject(about, lambda depths: [_Timed(own, run=run)], runtime=entry.runtime[-1])
    if opened.format.every_depth:
        default = (3, 7, 12)
        return _Subject(about, lambda depths: [_Timed(depth, path) for depth in depths or default], default)
    if options.depths is not None:
        raise InputError(
            f"--depths is for learngenes and elastic ONNX files: {path} holds one", field="depths", code="conflict"
        )
    return _Subject(about, lambda depths: [_Timed(own, path)])


def _model(reference: Reference, options: Benchmark, threads: int, folder: Path) -> _Subject:
    from tleg.training.models import open_model

    refuse_depths(options.chosen_depths, "depths", "this is one model")
    if options.runtime == "onnxruntime" and reference.kind == "weights":
        raise InputError(
            "weights are run by torch; build an export first: tleg build", field=("runtime", "target"), code="unsupported"
        )
    opened = open_model(reference, options.model_arguments, options.pixels)
    about = {
        "export": "pytorch" if options.runtime != "onnxruntime" else "onnx",
        "dtype": options.dtype,
        "image_size": list(opened.input_size[1:]),
        "learngene": None,
    }
    if options.runtime == "onnxruntime":
        request = BuildRequest(
            reference.place,
            ("onnx",),
            (),
            folder / "exports",
            precision=parse_precision(options.dtype),
            image_size=options.pixels,
            verify=False,
        )
        return _Subject(about, lambda depths: [_Timed(opened.depth, _build(request, options)[0].path)])
    options.require_floating()
    model = opened.model.half() if options.dtype == "float16" else opened.model
    return _Subject(about, lambda depths: [_Timed(opened.depth, run=_torch_run(model, opened.input_size, options, threads))])


def export_run(opened: OpenExport, batch: int) -> Callable[[], None]:
    """Return a function that computes so many images of zeros in an export's own runtime, on the processor."""
    import numpy as np

    images = np.zeros((batch, *opened.input_size), np.float32)

    def run() -> None:
        opened.runner(opened.depth, images)

    return run


def _refuse_what_is_built_in(options: Benchmark, *, onnx: bool) -> None:
    """Refuse what an export cannot be asked for; those of ONNX Runtime take a provider. Raises InputError."""
    given = {
        "runtime": options.runtime not in ((None, _ONNX_RUNTIME) if onnx else (None,)),
        "provider": not onnx and options.provider != "cpu",
        "image-size": options.image_size is not None,
        "model-arg": bool(options.model_arguments),
        "dtype": options.dtype != "float32",
        "export": options.export != "onnx",
    }
    for name in (name for name, is_given in given.items() if is_given):
        raise InputError(f"--{name} is not for an export: it is as it was built", field=name, code="conflict")


def _build(request: BuildRequest, options: Benchmark) -> tuple[BuiltExport, ...]:
    """Build what is measured, calibrated where that was asked for."""
    text = options.calibration
    if text is None:
        return build_exports(request)
    from tleg.latency.precision import open_calibration

    return build_exports(request, calibrate=lambda source: open_calibration(text, options.calibrating, source))


def _torch_run(model: Any, input_size: tuple[int, int, int], options: Benchmark, threads: int) -> Callable[[], None]:
    """A function that computes one batch of zeros, and waits for it."""
    import torch

    from tleg.training.device import choose_placement

    torch.set_num_threads(threads)
    device = choose_placement(options.provider, "float32").device
    model = model.to(device).eval()
    images = torch.zeros(options.batch, *input_size, device=device, dtype=next(model.parameters()).dtype)

    def run() -> None:
        with torch.inference_mode():
            model(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run
