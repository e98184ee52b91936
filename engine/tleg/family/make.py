"""Making a family: the learngene where there is none yet, and for each device its depth, its training, its export, figures.

What is done is not done again: trainings are runs, and a device's file is made anew only when what it follows from changed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, TlegError
from tleg.export.build import build_exports
from tleg.export.formats import find_format, parse_precision
from tleg.export.manifest import FileRecord, describe_file
from tleg.export.plan import BuildRequest
from tleg.family.choose import Accuracies, Chosen, check_profiles, choose, depths_of, file_size, sizes_of
from tleg.family.file import LATER, Family
from tleg.family.progress import ANCESTOR, LEARNGENE_STEP, ProgressWriter, Stage
from tleg.family.results import DepthSlice, DeviceSlice, FamilyResults, read_slices, write_slices
from tleg.family.trainings import Trainings, Watch
from tleg.files import new_folder
from tleg.latency.benchmark import measure_latency
from tleg.latency.measuring import device_name
from tleg.latency.precision import PrecisionJudge
from tleg.learngene.container import LearngeneFile, read_file
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.preview import preview
from tleg.learngene.profile import Depth, format_depth
from tleg.models.headers import headers_at
from tleg.recipes.benchmark import Benchmark
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.precision import AccuracyGate, PrecisionOptions
from tleg.recipes.recipes import TrainingRecipe
from tleg.references import MANIFEST_SUFFIX, find
from tleg.runs.run import LEARNGENE, MODEL
from tleg.runs.work import WorkFolder
from tleg.serialize import encode
from tleg.text import format_bytes, format_image_size
from tleg.training.learn import measured_on
from tleg.training.prepared import prepare_evaluation
from tleg.versions import versions

_LATENCY_SECONDS: Final = 2.0
# Codes of errors of a learngene that knows other classes than the data, or none.
_OTHER_CLASSES: Final = ("mismatch", "unsupported")
# What is done, and a sentence about it.
Tell = Callable[[str, str], None]
# Images done, images in all.
Count = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Who is told what: of each step, of a run at work, of images that were evaluated."""

    tell: Tell = lambda what, text: None
    watch: Watch = lambda name, snapshot, state: None
    count: Count | None = None


class FamilyMaker:
    """Makes a family in a folder.

    force  train anew what the family now says otherwise than when it was trained
    """

    def __init__(self, family: Family, folder: Path, *, force: bool = False, watching: Watching | None = None) -> None:
        self._family, self._watching = family, watching or Watching()
        self._work = WorkFolder(folder, "family")
        self._known: Accuracies = {}
        self._progress = ProgressWriter(folder, family.file)
        self._trainings = Trainings(self._work, force=force, watch=self._watching.watch)

    def make(self) -> FamilyResults:
        """Make what is not made yet, and return all; it is in slices.json as well, as it grows.

        A device for which something fails is left out, and said. KeyboardInterrupt saves and stops a training at work, and
        goes on to the caller. Raises InputError for what cannot be, as a rule before anything is trained.
        """
        check_profiles(self._family)
        with self._work.at_work():
            self._progress.begin(self._names())
            try:
                results = self._make()
            except KeyboardInterrupt:
                self._progress.end("it was stopped, and goes on when it is started again")
                raise
            except Exception as error:
                self._progress.end(str(error))
                raise
            self._progress.end()
            return results

    def _names(self) -> list[str]:
        """All that is made or measured, in order."""
        first = [ANCESTOR, LEARNGENE_STEP] if self._family.trains_ancestor else [LEARNGENE_STEP]
        return [*first, *(device.name for device in self._family.devices)]

    def _make(self) -> FamilyResults:
        self._work.read()
        before = read_slices(self._work.path)
        self._check_trainings()
        teacher = self._teacher()
        file = read_file(self._learngene(teacher))
        self._known, data = self._accuracies(file)
        self._progress.step(LEARNGENE_STEP, "done")
        chosen = [choose(self._family, file, device, self._known) for device in self._family.devices]
        for each in chosen:
            self._tell(each.device.name, "waiting", _choice_words(each))
        results = self._begun(file, data)
        for each in chosen:
            try:
                slice_ = self._device(each, file, teacher, before)
                results = replace(results, devices=(*results.devices, slice_))
                self._remove_former(before, slice_)
                self._tell(each.device.name, "done", "done")
            except TlegError as error:
                results = replace(results, failed={**results.failed, each.device.name: str(error)})
                self._tell(each.device.name, "failed", f"failed: {error}")
            write_slices(self._work.path, results)
        return results

    def _tell(self, what: str, stage: Stage, text: str) -> None:
        self._progress.step(what, stage, text)
        self._watching.tell(what, text)

    def _counting(self, name: str) -> Count:
        """Who is told of the images that are evaluated for one of them."""

        def count(done: int, total: int) -> None:
            self._progress.count(name, done, total)
            if self._watching.count is not None:
                self._watching.count(done, total)

        return count

    def _check_trainings(self) -> None:
        """Refuse trainings that were done otherwise than the family says, before anything is done."""
        family = self._family
        if family.trains_ancestor:
            self._trainings.check(ANCESTOR, family.ancestor_recipe())
        if family.learngene is None:
            self._trainings.check(
                LEARNGENE_STEP, family.learn_recipe(None if family.ancestor is None else LATER), ("teacher",)
            )

    def _teacher(self) -> str | None:
        """The model that teaches, trained where that is wanted."""
        family = self._family
        if not family.trains_ancestor:
            assert family.ancestor is None or isinstance(family.ancestor, str)
            return family.ancestor
        return str((self._train(ANCESTOR, family.ancestor_recipe()) / MODEL).absolute())

    def _learngene(self, teacher: str | None) -> Path:
        if self._family.learngene is not None:
            return find(self._family.learngene, "learngene")
        return (self._train(LEARNGENE_STEP, self._family.learn_recipe(teacher)) / LEARNGENE).absolute()

    def _train(self, name: str, recipe: TrainingRecipe) -> Path:
        """Where the results of a training are, which is done by then."""
        done = self._trainings.finished(name, recipe)
        if done is None:
            self._tell(name, "training", "training")
            done = self._trainings.run(name, recipe)
        if name == ANCESTOR:
            self._progress.step(name, "done")
        return done.exports

    def _accuracies(self, file: LearngeneFile) -> tuple[Accuracies, str]:
        """Accuracies by size and depth on the family's images, as the header has them or measured now; and their full name.

        A learngene of other classes has none, which is refused where a device shall have it as it is.
        """
        header, found = file.header, dict[tuple[tuple[int, int], Depth], float]()
        data = self._family.data
        for size in sizes_of(self._family, header):
            depths = self._wanted_depths(header)
            options = Evaluation(
                data=self._family.data,
                depths=",".join(map(format_depth, depths)),
                image_size=None if size == header.image_size else format_image_size(size),
            )
            prepared = prepare_evaluation(file.path, options)
            data = measured_on(prepared.data)
            images = len(prepared.data.validation)
            recorded = [
                each
                for each in header.measured
                if (each.data, each.images, each.precision) == (data, images, "float32")
                and (each.image_size or header.image_size) == size
            ]
            if recorded and all(depth in recorded[0].by_depth for depth in depths):
                found |= {(size, depth): recorded[0].by_depth[depth] for depth in depths}
                continue
            self._tell(LEARNGENE_STEP, "measuring", f"accuracy of {len(depths)} depths on {images:,} images")
            try:
                scores = prepared.run(self._counting(LEARNGENE_STEP))
            except InputError as error:
                if error.code not in _OTHER_CLASSES or any(not device.epochs for device in self._family.devices):
                    raise
                self._tell(
                    LEARNGENE_STEP, "done", "it knows other classes than the data; all devices have epochs of fine-tuning"
                )
                return {}, data
            found |= {
                (size, depth): round(score.top1, 2)
                for depth, score in scores.items()
                if depth is not None and score.top1 is not None
            }
        return found, data

    def _wanted_depths(self, header: LearngeneHeader) -> tuple[Depth, ...]:
        """All depths that are compared, and those that a device names."""
        named = [device.depth for device in self._family.devices if device.depth is not None]
        return tuple(dict.fromkeys([*depths_of(self._family, header), *named]))

    def _libraries(self) -> tuple[str, ...]:
        """The packages that had a part in the files of all devices."""
        formats = [find_format(device.export) for device in self._family.devices]
        own = [name for entry in formats for name in (*entry.libraries, *entry.runtime)]
        return tuple(dict.fromkeys(["tleg", "torch", "timm", "onnx", "onnxruntime", *own]))

    def _begun(self, file: LearngeneFile, data: str) -> FamilyResults:
        """The results before any device has something."""
        header, family = file.header, self._family
        rows = preview(headers_at(header, sizes_of(family, header)), self._wanted_depths(header)).rows
        return FamilyResults(
            title=family.title,
            license=family.license,
            data=data,
            learngene=family.learngene or "learned here",
            learngene_sha256=header.sha256,
            architecture=header.architecture.name,
            lineage=header.learned,
            machine=device_name(),
            versions=versions(*self._libraries()),
            devices=(),
            depths=tuple(
                DepthSlice(
                    depth=format_depth(row.depth),
                    image_size=row.image_size,
                    parameters=row.cost.parameters,
                    macs=row.cost.macs,
                    size=row.cost.size,
                    memory=row.cost.inference_memory,
                    top1=self._known.get((row.image_size, row.depth)),
                )
                for row in rows
            ),
            failed={},
        )

    def _device(self, chosen: Chosen, file: LearngeneFile, teacher: str | None, before: FamilyResults | None) -> DeviceSlice:
        """Train, export, verify and measure what a device gets, but for what is done already."""
        device, row = chosen.device, chosen.row
        sized = None if row.image_size == file.header.image_size else format_image_size(row.image_size)
        run, source = None, file.path
        if device.epochs:
            recipe = self._family.finetune_recipe(device, str(file.path), format_depth(row.depth), sized, teacher)
            source = self._train(device.name, recipe) / MODEL
            run = source.parent.parent.name
        made_from = self._made_from(chosen, file, run)
        known = next((each for each in (before.devices if before else ()) if each.name == device.name), None)
        if known is not None and known.made_from == made_from and self._is_there(known):
            return known
        self._tell(device.name, "exporting", f"exporting to {device.export} and verifying")
        path, record = self._export(chosen, source, trained=run is not None, other_size=sized is not None)
        if (most := device.budget.size) is not None and record.bytes > most:
            if run is None:
                # Its graph is more than its weights left room for.
                lower = choose(self._family, file, device, self._known, below=row)
                self._tell(
                    device.name, "choosing", f"its file has {format_bytes(record.bytes)}; instead {_choice_words(lower)}"
                )
                _remove_export(path)
                return self._device(lower, file, teacher, before)
            raise InputError(
                f"its file has {format_bytes(record.bytes)} against max-size {format_bytes(most)}, of which its weights are "
                f"{format_bytes(file_size(row, file, device))}",
                field="devices",
                code="out-of-range",
            )
        self._tell(device.name, "measuring", "measuring accuracy and latency")
        one_depth = format_depth(row.depth) if find_format(device.export).every_depth else None
        evaluation = prepare_evaluation(path, Evaluation(data=self._family.data, depths=one_depth))
        (score,) = evaluation.run(self._counting(device.name)).values()
        latency = measure_latency(path, Benchmark(depths=one_depth, seconds=_LATENCY_SECONDS)).points[0].median
        cost = row.cost
        return DeviceSlice(
            name=device.name,
            about=device.about,
            depth=format_depth(row.depth),
            image_size=row.image_size,
            export=device.export,
            dtype=device.dtype,
            path=path.relative_to(self._work.path).as_posix(),
            sha256=record.sha256,
            bytes=record.bytes,
            parameters=cost.parameters,
            macs=cost.macs,
            memory=cost.inference_memory,
            zero_shot=chosen.top1,
            top1=None if score.top1 is None else round(score.top1, 2),
            images=score.images,
            wanted=device.top1,
            latency=latency,
            expected=row.latency,
            on=chosen.on,
            epochs=device.epochs,
            run=run,
            made_from=made_from,
        )

    def _export(self, chosen: Chosen, source: Path, *, trained: bool, other_size: bool) -> tuple[Path, FileRecord]:
        """Write and verify a device's file; return where it is and what it holds."""
        device, row = chosen.device, chosen.row
        entry, folder = find_format(device.export), self._work.path / device.name
        if trained and entry.is_timm_folder and device.dtype == "float32":  # What fine-tuning leaves is such a folder.
            target = folder / source.parent.parent.name
            with new_folder(target, overwrite=True) as temporary:
                shutil.copytree(source, temporary, dirs_exist_ok=True)
            return target, describe_file(target, target.name, entry.name)
        options = PrecisionOptions()
        if device.dtype != "float32":  # Labelled images are at hand, and decide.
            gate = AccuracyGate(data=self._family.data, max_drop=device.max_drop)
            options = PrecisionOptions(calibration=self._family.data if device.dtype == "int8" else None, gate=gate)
        request = BuildRequest(
            learngene=source,
            kinds=(entry.name,),
            depths=() if trained or entry.every_depth else (row.depth,),
            output=folder,
            precision=parse_precision(device.dtype),
            image_size=row.image_size if other_size and not trained else None,
            overwrite=True,
        )
        judge = PrecisionJudge(options) if options.decides(device.dtype) else None
        (built,) = build_exports(request, judge=judge)
        return built.path, built.manifest.file

    def _remove_former(self, before: FamilyResults | None, now: DeviceSlice) -> None:
        """Remove what a device had before, where that is another file: each has one."""
        for each in before.devices if before else ():
            if each.name == now.name and each.path != now.path:
                _remove_export(self._work.path / each.path)

    def _made_from(self, chosen: Chosen, file: LearngeneFile, run: str | None) -> str:
        """A hash of all that a device's file and figures follow from."""
        facts: Mapping[str, Any] = {
            "device": encode(chosen.device),
            "depth": format_depth(chosen.row.depth),
            "image_size": chosen.row.image_size,
            "expected": chosen.row.latency,
            "learngene": file.header.sha256,
            "run": run,
            "data": self._family.data,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def _is_there(self, device: DeviceSlice) -> bool:
        """Whether a device's file is still the one that was made."""
        path = self._work.path / device.path
        try:
            return describe_file(path, path.name, device.export).sha256 == device.sha256
        except OSError:
            return False


def _remove_export(path: Path) -> None:
    """Remove a file and its manifest, or a folder."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
        path.with_name(path.name + MANIFEST_SUFFIX).unlink(missing_ok=True)


def _choice_words(chosen: Chosen) -> str:
    """'depth 7 of 112x112 pixels, 88.10 % without fine-tuning, 12.1 ms expected'."""
    row = chosen.row
    words = [f"depth {format_depth(row.depth)}, {format_image_size(row.image_size)} pixels"]
    words += [] if chosen.top1 is None else [f"{chosen.top1:.2f} % without fine-tuning"]
    words += [] if row.latency is None else [f"{1000 * row.latency:.3g} ms expected"]
    words += [] if chosen.doubt is None else [chosen.doubt]
    return ", ".join(words)
