"""The manifest of an export: where it comes from, what it is, what it was checked against.

Beside every file lies FILE.manifest.json; a PyTorch folder holds its manifest.json. It reads from the ancestry model to the
bytes: ancestry -> learngene -> descendant -> file, or, when a folder that timm loads was exported, such as a fine-tuned
descendant: ancestry -> learngene -> folder -> file, as far as the folder knows where it comes from. The file's hash ties the
two together, so that a manifest and a file that do not belong together are always noticed, whatever interrupted their
writing.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from tleg.errors import FileFormatError, InputError
from tleg.export.formats import Format, Precision, stored_format
from tleg.export.interface import Interface, check_recorded
from tleg.export.precision_cost import PrecisionCost
from tleg.files import hash_file, text_only
from tleg.learngene.architecture import Layout
from tleg.learngene.basis import Basis
from tleg.learngene.calibration import CALIBRATION
from tleg.learngene.cascade import CASCADES
from tleg.learngene.expansion import HeadPolicy
from tleg.learngene.header import Preprocessing
from tleg.learngene.profile import Depth, Profile
from tleg.models.output import Output, OutputCost, OutputRecord, parse_output
from tleg.references import MANIFEST_SUFFIX
from tleg.serialize import LEFT_OUT_WHEN_NONE, decode, encode

FORMAT_NAME: Final = "tleg.export"
FORMAT_VERSION: Final = 1
FOLDER_MANIFEST: Final = "manifest.json"
MAX_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class LearngeneRecord:
    """The learngene: its name, its file's name (never a path), the hash of its tensors, and how it was learned.

    A fine-tuned folder remembers name and hash alone: then `file` and `auxiliary_depth` are None.
    """

    name: str
    file: str | None
    sha256: str
    auxiliary_depth: int | None
    learned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ancestry(self) -> Any:
        """What the learngene says of its ancestry model; None when it says nothing."""
        return self.learned.get("ancestry")


@dataclass(frozen=True, slots=True)
class DescendantRecord:
    """The descendant: all that decides its weights besides the learngene's tensors.

    depth      None in an elastic file, which holds every depth
    rule       how a layer's weights follow from the terms, for people; `basis` says it exactly
    head       'kept' from the learngene, 'new', or 'none'
    head_seed  of a new head's weights
    image_size  height and width of the inputs, where the learngene was resampled for others than its own
    profile     the blocks of each stage, where others than the elastic one's are not the learngene's
    output      what the export gives, as it is typed, where that is not the logits of classes
    temperature  that its logits are divided by, where they are
    """

    depth: int | None
    layout: Layout
    dtype: Precision
    num_classes: int
    head: HeadPolicy
    head_seed: int | None
    basis: Basis
    rule: str
    image_size: tuple[int, int] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    profile: Profile | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    output: str | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    temperature: float | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    @property
    def expands_to(self) -> Depth | None:
        """The depth, or the profile where there is one; None in an elastic file."""
        return self.profile or self.depth


@dataclass(frozen=True, slots=True)
class FolderRecord:
    """A folder that timm loads, whose weights an export holds as they are.

    name          of the folder, never a path
    architecture  timm's name
    depth         of a ViT; None for models that have none
    dtype         of the export
    sha256        of the folder's model.safetensors
    training      how it was trained, as its training.json says; None when it holds none
    image_size    height and width of the inputs, where the weights were resampled for others than the folder's
    output        what the export gives, as it is typed, where that is not the logits of classes
    temperature   that its logits are divided by, where they are
    """

    name: str
    architecture: str
    depth: int | None
    dtype: Precision
    num_classes: int
    sha256: str
    training: Mapping[str, Any] | None
    image_size: tuple[int, int] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    output: str | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    temperature: float | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where an export's weights come from: a descendant of a learngene, or a folder, whose learngene may be unknown."""

    learngene: LearngeneRecord | None
    descendant: DescendantRecord | None = None
    folder: FolderRecord | None = None

    def check(self, where: str) -> None:
        """Require one of descendant and folder, and of a descendant its learngene in full. Raises FileFormatError."""
        if (self.descendant is None) == (self.folder is None):
            raise FileFormatError(f"{where} must name either a descendant or a folder")
        if self.descendant is not None and (
            self.learngene is None or self.learngene.file is None or self.learngene.auxiliary_depth is None
        ):
            raise FileFormatError(f"{where} names a descendant, but not its learngene, file and auxiliary depth")
        try:
            _ = self.output
        except InputError as error:
            raise FileFormatError(f"{where} names an output that this tleg does not know: {error}") from error

    @property
    def output(self) -> Output:
        """What the export gives. Raises InputError where that is no output, which `check` refuses."""
        return output_recorded(self.model.output)

    @property
    def model(self) -> DescendantRecord | FolderRecord:
        """What was exported: the record of the descendant or of the folder."""
        model = self.descendant or self.folder
        assert model is not None
        return model

    @property
    def ancestry(self) -> Any:
        """What the learngene says of its ancestry model; None when nothing is known."""
        return None if self.learngene is None else self.learngene.ancestry

    @property
    def training(self) -> Mapping[str, Any]:
        """The record of the training that the weights come from, as far as it is known.

        What it says of probabilities is about logits as the learngene or folder gives them. It is left out where an export
        gives others: those of the official layout, or divided ones.
        """
        if self.folder is not None:
            record: Mapping[str, Any] = self.folder.training or {}
        else:
            record = {} if self.learngene is None else self.learngene.learned
        other = self.descendant is not None and self.descendant.layout == "official"
        if not other and self.model.temperature is None:
            return record
        return {name: each for name, each in record.items() if name not in (CALIBRATION, CASCADES)}


def output_recorded(text: str | None) -> Output:
    """What a record says that an export gives; nothing means logits. Raises InputError where it is no output."""
    return Output() if text is None else parse_output(text)


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The file or folder: its name, size and SHA-256 hashes.

    kind    the name of its format
    files   hash by name of each file; one of them, but for a folder
    sha256  of a single file; of a folder, that of its lines 'hash  name'
    """

    name: str
    kind: str
    bytes: int
    sha256: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """An export against its reference on one batch.

    depth             None for models that have none
    max_abs_error     the largest difference of two values
    relative_error    that, divided by the reference's largest value
    argmax_agreement  the share of images for which both prefer the same class, 0 to 1; None of what is no logits
    arithmetic        what the export was computed in; a runtime may use float32 for a float16 file
    output            the name of the output, where it is not the logits
    """

    depth: int | None
    batch: int
    max_abs_error: float
    relative_error: float
    argmax_agreement: float | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    arithmetic: Precision = "float32"
    output: str | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)


@dataclass(frozen=True, slots=True)
class Range:
    """The largest absolute value of a run in float16 arithmetic, which holds none above 65,504, and where it stood."""

    largest: float
    where: str

    def __str__(self) -> str:
        return f"largest value {self.largest:,.0f} of 65,504 (in {self.where})"


@dataclass(frozen=True, slots=True)
class PictureComparison:
    """How far the resizing inside of a graph is from evaluation's, and what that changes.

    sizes             (height, width) of the pictures
    max_pixel_error   the largest difference of two pixels, of 255
    differing         the share of pixels that differ, 0 to 1
    relative_error    the largest difference of two outputs, divided by the largest value
    argmax_agreement  the share of pictures of which both prefer the same class, 0 to 1; None of what is no logits
    """

    sizes: tuple[tuple[int, int], ...]
    max_pixel_error: int
    differing: float
    relative_error: float
    argmax_agreement: float | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __str__(self) -> str:
        """The figures in one line."""
        if not self.max_pixel_error:
            return f"resizes pictures of {len(self.sizes)} sizes as evaluation does, to the bit"
        return (
            f"resizes pictures of {len(self.sizes)} sizes with {self.differing:.2%} of pixels off, by at most "
            f"{self.max_pixel_error} of 255"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """What an export was checked against, and how far it was off.

    reference  what it was compared with
    runtime    what ran it
    tolerance  the largest relative error allowed
    seed       of the images, which are drawn from a normal distribution
    range      of a float16 export
    pictures   of an export that resizes
    """

    reference: str
    runtime: str
    tolerance: float
    seed: int
    comparisons: tuple[Comparison, ...]
    range: Range | None = None
    pictures: PictureComparison | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)

    def __str__(self) -> str:
        """The figures in one line."""
        parts = [f"largest error {self.max_abs_error:.1e} (relative {self.relative_error:.1e})"]
        if self.argmax_agreement is not None:
            parts.append(f"same class for {self.argmax_agreement:.0%} of images")
        parts += [str(each) for each in (self.range, self.pictures) if each is not None]
        return ", ".join(parts)

    @property
    def max_abs_error(self) -> float:
        """The largest over all batches."""
        return max(comparison.max_abs_error for comparison in self.comparisons)

    @property
    def relative_error(self) -> float:
        """The largest over all batches."""
        return max(comparison.relative_error for comparison in self.comparisons)

    @property
    def argmax_agreement(self) -> float | None:
        """The share over all images; None of what is no logits."""
        known = [(each.batch, each.argmax_agreement) for each in self.comparisons if each.argmax_agreement is not None]
        images = sum(batch for batch, _ in known)
        return sum(batch * share for batch, share in known) / images if images else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that is known of an export, whose weights are those of a descendant or of a folder that timm loads.

    ancestry       what the learngene says of its ancestry model
    learngene      of a descendant always; of a folder when it knows it
    preprocessing  how an image becomes an input; None in manifests of before it was stated
    note           what must be known before the export is used elsewhere; not written where there is nothing
    outputs        what it gives, where that is not the logits of classes
    cost           what computing those takes, without a classifier; None in an elastic file, which has any depth
    usage          of such a folder, the line of Python that gives them
    example        lines of Python that use the export with numpy, Pillow and its runtime alone
    interface      how its graph is entered and left, where that is not as usual
    beside_float32  what its number type costs and saves, where that was measured
    """

    ancestry: Any
    learngene: LearngeneRecord | None
    descendant: DescendantRecord | None
    file: FileRecord
    versions: Mapping[str, str]
    folder: FolderRecord | None = None
    verification: Verification | None = None
    preprocessing: Preprocessing | None = None
    note: str | None = None
    outputs: tuple[OutputRecord, ...] | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    cost: OutputCost | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    usage: str | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    example: str | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    interface: Interface | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    beside_float32: PrecisionCost | None = field(default=None, metadata=LEFT_OUT_WHEN_NONE)
    format: Literal["tleg.export"] = FORMAT_NAME
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        self.lineage.check("manifest")
        check_recorded(self.interface, "manifest")

    @property
    def lineage(self) -> Lineage:
        """Where the weights come from."""
        return Lineage(self.learngene, self.descendant, self.folder)

    @property
    def model(self) -> DescendantRecord | FolderRecord:
        """What was exported: the record of the descendant or of the folder."""
        return self.lineage.model


def manifest_path(target: Path, entry: Format) -> Path:
    """Where the manifest of an export lies."""
    inside = entry.is_folder and not entry.is_package
    return target / FOLDER_MANIFEST if inside else target.with_name(target.name + MANIFEST_SUFFIX)


def describe_file(path: Path, name: str, kind: str) -> FileRecord:
    """Measure and hash a file, or the files of a folder but its manifest. `name` is its final name. Raises OSError."""
    if path.is_dir():
        files = sorted(item for item in path.rglob("*") if item.is_file() and item != path / FOLDER_MANIFEST)
        hashes = {item.relative_to(path).as_posix(): hash_file(item) for item in files}
        lines = "".join(f"{value}  {key}\n" for key, value in hashes.items())
        return FileRecord(name, kind, sum(item.stat().st_size for item in files), _hash(lines.encode()), hashes)
    digest = hash_file(path)
    return FileRecord(name, kind, path.stat().st_size, digest, {name: digest})


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def written_files(manifest: Path) -> frozenset[str]:
    """The names in a folder that its manifest says were written by a build; none where it has no manifest to be read."""
    try:
        files = read_manifest(manifest).file.files
    except FileFormatError:
        return frozenset()
    return frozenset(name.partition("/")[0] for name in files)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest's JSON. Raises OSError."""
    document = text_only(encode(manifest))
    if document["note"] is None:
        del document["note"]  # Earlier versions know no such field.
    ordered = {"format": document.pop("format"), "version": document.pop("version"), **document}
    path.write_text(json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, trusting nothing. Raises FileFormatError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileFormatError(f"{path} is too large for a manifest")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise FileFormatError(f"cannot read {path}: {reason}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_NAME:
        raise FileFormatError(f"{path} is not the manifest of an export")
    if document.get("version") != FORMAT_VERSION:
        version = document.get("version")
        raise FileFormatError(f"{path} has version {version!r} and this tleg reads version {FORMAT_VERSION}; update tleg")
    manifest = decode(Manifest, document, str(path))
    stored_format(manifest.file.kind, f"{path}.file.kind")
    return manifest
