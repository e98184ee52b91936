"""torch.compile: every depth is compiled once, and none is left out."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.training.conftest import ARGUMENTS, VIT
from tleg.learngene.basis import Basis
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.distillation import Depths
from tleg.training.students import AuxiliaryStudent, PlainStudent, compile_student


@pytest.mark.slow
def test_each_depth_is_compiled_once() -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10)
    student = AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), Depths(2, (1, 2, 3)), seed=0)
    counter = CompileCounter()
    compile_student(student, backend=counter)
    images = torch.zeros(2, 1, 8, 8)
    for depth in (1, 2, 3, 2, 1, 3):
        student(images, depth).logits.sum().backward()
    # One graph a depth: coefficients that are made on the way would have each compiled a second time.
    assert counter.frame_count == 3


def test_there_is_room_for_every_depth() -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10)
    many = tuple(range(1, 101))
    student = AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), Depths(2, many), seed=0)
    compile_student(student, backend=CompileCounter())
    assert torch._dynamo.config.recompile_limit >= 400
    assert torch._dynamo.config.accumulated_recompile_limit >= 400
    assert PlainStudent(torch.nn.Linear(1, 1)).make_ready() == (None,)
