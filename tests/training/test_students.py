"""torch.compile: every depth is compiled once, and none is left out."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.training.conftest import ARGUMENTS, VIT
from tleg.learngene.basis import Basis
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.recipes.distillation import Depths
from tleg.training.students import AuxiliaryStudent, PlainStudent, compile_student, depths_of_step


@pytest.mark.slow
def test_each_depth_is_compiled_once() -> None:
    architecture = describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10)
    student = AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), Depths(2, (1, 2, 3)), seed=0, steps=8)
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
    student = AuxiliaryStudent(AuxiliaryModel(architecture, Basis()), Depths(2, many), seed=0, steps=8)
    compile_student(student, backend=CompileCounter())
    assert torch._dynamo.config.recompile_limit >= 400
    assert torch._dynamo.config.accumulated_recompile_limit >= 400
    assert PlainStudent(torch.nn.Linear(1, 1)).make_ready() == (None,)


def _student(depths: Depths, steps: int) -> AuxiliaryStudent:
    return AuxiliaryStudent(
        AuxiliaryModel(describe(VIT, {**ARGUMENTS, "in_chans": 1}, 10), Basis()), depths, seed=5, steps=steps
    )


def test_the_first_part_of_the_steps_has_one_depth() -> None:
    warmed = Depths(6, (2, 4, 6), warmup=0.5)
    student = _student(warmed, 40)
    assert {student.depths(step) for step in range(20)} == {(2,)}
    # What is drawn afterwards is what would have been drawn without the warm-up.
    plain = Depths(6, (2, 4, 6))
    assert [student.depths(step) for step in range(20, 40)] == [depths_of_step(plain, 5, step) for step in range(20, 40)]
    assert {depth for step in range(20, 40) for depth in student.depths(step)} == {2, 4, 6}


def test_a_depth_to_begin_with_may_be_another_one() -> None:
    student = _student(Depths(6, (2, 6), warmup=0.25, warmup_depth=3), 8)
    assert [student.depths(step) for step in range(3)][:2] == [(3,), (3,)]
    assert 3 not in student.depths(2)
    assert student.make_ready() == (2, 3, 6)
    assert _student(Depths(6, (2, 6), warmup_depth=3), 8).make_ready() == (2, 6)


def test_a_warmup_in_a_sandwich() -> None:
    student = _student(Depths(6, (2, 4, 6), "sandwich", warmup=0.5), 4)
    assert [student.depths(step) for step in range(4)] == [(2,), (2,), (6, 2, 4), (6, 2, 4)]
