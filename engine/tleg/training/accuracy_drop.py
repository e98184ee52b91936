"""What a smaller number type costs in accuracy, and whether that may be."""

from collections.abc import Mapping, Sequence

from tleg.errors import VerificationError
from tleg.export.precision_cost import AccuracyPair
from tleg.learngene.profile import Depth, format_depth
from tleg.training.accuracy import Score


def pair_accuracies(before: Mapping[Depth | None, Score], after: Mapping[Depth | None, Score]) -> tuple[AccuracyPair, ...]:
    """Return the accuracies of the same depths in float32 and in the smaller number type, of outputs that are finite."""
    pairs = []
    for depth, score in before.items():
        other = after[depth]
        assert score.top1 is not None, "its outputs are finite"
        assert other.top1 is not None, "its outputs are finite"
        pairs.append(AccuracyPair(None if depth is None else format_depth(depth), score.top1, other.top1))
    return tuple(pairs)


def require_kept(accuracies: Sequence[AccuracyPair], allowed: float, data: str, images: int) -> None:
    """Refuse a number type that loses more than so many points at any depth. Raises VerificationError."""
    worst = max(accuracies, key=lambda each: each.drop)
    # Both are shares of the same images, so that this is no matter of rounding.
    if worst.drop > allowed + 1e-9:
        where = "" if worst.depth is None else f" at depth {worst.depth}"
        raise VerificationError(
            f"the number type costs {worst.drop:.2f} points of accuracy{where}: {worst.before:.2f} % in float32 is "
            f"{worst.after:.2f} % on {images:,} images of {data}, and {allowed:g} may be lost (--max-drop)",
            field=("max-drop", "dtype"),
        )
