"""torch.compile for a student: every depth once."""

from typing import Any, Final

import torch

from tleg.training.students import Student

# For each depth training and evaluation, and what torch compiles again on the way.
_GRAPHS_PER_DEPTH: Final = 4
_MORE_GRAPHS: Final = 64


def compile_student(student: Student, **options: Any) -> None:
    """Compile a student in place, with torch's options. Each of its depths is compiled by itself, at its first step."""
    depths = student.make_ready()
    graphs = _GRAPHS_PER_DEPTH * len(depths) + _MORE_GRAPHS
    config: Any = torch._dynamo.config
    # torch gives up after eight otherwise, and computes the others without a word as if nothing were compiled.
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(config, name, max(getattr(config, name), graphs))
    student.compile(**options)
