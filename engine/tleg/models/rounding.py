"""A learngene's large matrices as whole numbers times scales, in 8 or 4 bits."""

from collections.abc import Mapping

from tleg.learngene.architecture import Architecture
from tleg.learngene.families import family_of
from tleg.learngene.header import CompressedType
from tleg.models.int4 import quantise_blocks, takes_4_bits
from tleg.models.int8 import channel_axes, quantise
from tleg.models.quantised import Array, QuantisedTensor, as_floats


def quantise_tensors(
    architecture: Architecture, tensors: Mapping[str, Array], dtype: CompressedType
) -> dict[str, Array | QuantisedTensor]:
    """Return a learngene's tensors with its large matrices, in terms, stem and head, as whole numbers.

    dtype  'int8', or 'int4' for the matrices of blocks; all else that is large has 8 bits there as well
    """
    family = family_of(architecture)
    found: dict[str, Array | QuantisedTensor] = {}
    for name, values in tensors.items():
        terms = family.is_block(name)
        axes = channel_axes(values.shape, terms=terms)
        if axes is None:
            found[name] = values
        elif dtype == "int4" and terms and takes_4_bits(values.shape):
            found[name] = quantise_blocks(values)
        else:
            found[name] = quantise(values, axes)
    return found


def rounded_tensors(architecture: Architecture, tensors: Mapping[str, Array], dtype: CompressedType) -> dict[str, Array]:
    """Return a learngene's tensors in float32, with the values that its large matrices have in 8 or 4 bits."""
    return {name: as_floats(each) for name, each in quantise_tensors(architecture, tensors, dtype).items()}
