"""CoreML's package read back from the disk: what it says of itself, and its program computed operator by operator.

CoreML runs on Apple's systems alone. So that a package is more than written, its program is read as coremltools reads it,
and PyTorch computes each operator by its definition, with the weights that lie in the package.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from tleg.errors import FileFormatError, VerificationError, last_words
from tleg.export.coreml.operators import OPERATORS
from tleg.export.exporting import quietly

FOLDER: Final = "Data/com.apple.CoreML"
MODEL: Final = f"{FOLDER}/model.mlmodel"
WEIGHTS: Final = f"{FOLDER}/weights"
FUNCTION: Final = "main"


def read_specification(path: Path) -> Any:
    """Return the specification in a package. Raises FileFormatError."""
    try:
        with quietly():
            import coremltools

            return coremltools.utils.load_spec(str(path / MODEL))
    except Exception as error:  # Of protobuf, of the operating system, and coremltools' own.
        raise FileFormatError(f"coremltools cannot open {path}: {last_words(error)}") from error


def read_program(path: Path, specification: Any) -> Any:
    """Return the operators of a package's program, with its weights. Raises FileFormatError."""
    try:
        with quietly():
            from coremltools.converters.mil.frontend.milproto.load import load

            version = specification.specificationVersion
            program = load(specification, specification_version=version, file_weights_dir=str(path / WEIGHTS))
            return program.functions[FUNCTION]
    except Exception as error:
        raise FileFormatError(f"coremltools cannot read {path}: {last_words(error)}") from error


def program_runner(program: Any, name: str, outputs: tuple[str, ...]) -> Callable[[NDArray[np.float32]], tuple[Any, ...]]:
    """Return what computes a program of one input: images (batch, C, H, W) -> its outputs by name.

    Raises FileFormatError for an operator that is not known here. What is returned raises VerificationError.
    """
    operations = list(program.operations)
    unknown = sorted({each.op_type for each in operations} - {"const", *OPERATORS})
    if unknown:
        raise FileFormatError(f"the program of {name} has operators that tleg does not compute: {', '.join(unknown)}")
    (entry,) = program.inputs
    constants = {each.outputs[0].name: _value(each.outputs[0].val) for each in operations if each.op_type == "const"}

    def run(images: NDArray[np.float32]) -> tuple[Any, ...]:
        values = {**constants, entry: torch.from_numpy(images)}
        for each in operations:
            if each.op_type == "const":
                continue
            given = {key: _given(argument, values) for key, argument in each.inputs.items() if argument is not None}
            try:
                with torch.inference_mode():
                    found = OPERATORS[each.op_type](given)
            except Exception as error:  # Of PyTorch's operators.
                raise VerificationError(f"{name} cannot be computed at '{each.op_type}': {last_words(error)}") from error
            values.update(zip((output.name for output in each.outputs), found, strict=True))
        return tuple(values[output] for output in outputs)

    return run


def _given(argument: Any, values: dict[str, Any]) -> Any:
    """An argument's value, or those of several."""
    if isinstance(argument, list | tuple):
        return [values[each.name] for each in argument]
    return values[argument.name]


def _value(constant: Any) -> Any:
    """A constant: arrays and numbers of fractions as tensors, all else as it is."""
    array = np.asarray(constant)
    return (
        torch.from_numpy(np.array(array))
        if array.dtype.kind in "f" or (array.dtype.kind == "i" and array.ndim)
        else constant
    )
