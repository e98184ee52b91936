"""Compressing a learngene: its matrices in 8 or 4 bits, with what that costs in accuracy by depth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tleg.errors import InputError
from tleg.export.precision_cost import AccuracyPair
from tleg.learngene.container import read_file
from tleg.learngene.header import Compression
from tleg.learngene.profile import Depth
from tleg.models.learngene import Learngene, read_tensors
from tleg.models.quantised import QuantisedTensor, as_floats
from tleg.models.rounding import quantise_tensors
from tleg.recipes.compression import CompressOptions
from tleg.recipes.images import EvaluatedImages
from tleg.training.accuracy import Score, require_finite
from tleg.training.accuracy_drop import pair_accuracies, require_kept
from tleg.training.device import choose_placement
from tleg.training.evaluate import evaluate_subject, open_evaluation_data, trained_on
from tleg.training.learn import measured_on, record_scores
from tleg.training.subjects import learngene_subject


@dataclass(frozen=True, slots=True)
class CompressedLearngene:
    """What became of a learngene.

    path        of the smaller file
    bytes       of the files: (before, after)
    accuracies  before and after, by depth; none without labelled images
    data        which images those were
    images      how many
    """

    path: Path
    bytes: tuple[int, int]
    accuracies: tuple[AccuracyPair, ...] = ()
    data: str | None = None
    images: int | None = None


def compress_learngene(
    path: Path, options: CompressOptions, progress: Callable[[int, int], None] | None = None
) -> CompressedLearngene:
    """Write a learngene whose large matrices are in 8 bits, or those of its blocks in 4; see `tleg.models.rounding`.

    Accuracies in the header are those of other weights, and are left out; where all images of `options.gate.data` were
    looked at, those of the new weights take their place. `progress` is called with (images done, images in all).

    Raises InputError for a learngene that is compressed already or has nothing to compress, VerificationError when more
    accuracy is lost than may be, DataError.
    """
    file = read_file(path)
    if file.header.compression is not None:
        raise InputError(
            f"the matrices of {path} are in {file.header.compression.dtype} already", field="learngene", code="unsupported"
        )
    learngene = read_tensors(file)
    architecture = learngene.header.architecture
    rounded = quantise_tensors(architecture, learngene.tensors, options.compressed)
    if not any(isinstance(each, QuantisedTensor) for each in rounded.values()):
        raise InputError(
            f"{path} has no matrices that are large enough to be worth it", field="learngene", code="unsupported"
        )
    header = replace(
        learngene.header, reached=None, further=(), compression=Compression(options.compressed, learngene.header.sha256)
    )
    smaller = Learngene(header, {name: as_floats(each) for name, each in rounded.items()})
    accuracies: tuple[AccuracyPair, ...] = ()
    where = images = None
    gate = options.gate
    if gate.data is not None:
        depths = options.chosen_depths or _depths(learngene.header.auxiliary.depth)
        data = open_evaluation_data(
            gate.data,
            EvaluatedImages(),
            trained=trained_on(header.learned),
            preprocessing=header.preprocessing,
            classes=header.classes,
        )
        placement = choose_placement("auto", "float32")
        found: list[dict[Depth | None, Score]] = []
        for index, each in enumerate((learngene, smaller)):

            def count(done: int, whole: int, index: int = index) -> None:
                if progress is not None:
                    progress(index * whole + done, 2 * whole)

            subject = learngene_subject(each, placement, depths)
            scores = evaluate_subject(subject, data, placement, limit=gate.limit, progress=count)
            require_finite(scores, str(path))
            found.append(scores)
        accuracies = pair_accuracies(*found)
        where, images = measured_on(data), next(iter(found[0].values())).images
        require_kept(accuracies, gate.allowed, where, images)
        if gate.limit is None:
            smaller = record_scores(smaller, data, found[1])
    output = Path(options.output)
    smaller.save(output, overwrite=options.force)
    return CompressedLearngene(output, (file.size, output.stat().st_size), accuracies, where, images)


def _depths(deepest: int) -> Sequence[Depth]:
    """A third, two thirds and all of a depth."""
    return tuple(sorted({max(1, round(deepest * part / 3)) for part in (1, 2, 3)}))
