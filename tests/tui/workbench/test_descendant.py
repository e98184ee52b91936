"""What the workbench shows of one depth: its layers, in one stage or in several."""

from dataclasses import replace

import pytest

from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.container import read_header
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.preview import preview
from tleg.references import shipped
from tleg_tui.workbench import descendant


@pytest.fixture
def header() -> LearngeneHeader:
    """The shipped one, as if it were the paper's line."""
    return replace(read_header(shipped()["fashion-mnist"]), basis=Basis())


def staged(header: LearngeneHeader) -> LearngeneHeader:
    """The same, as if it had four stages."""
    return replace(header, architecture=replace(header.architecture, stages=(2, 2, 6, 2), elastic=2))


def test_the_layers_of_one_stage_are_one_line_with_numbers(header: LearngeneHeader) -> None:
    points, numbers = [line.plain for line in descendant._layers(header, 5, 60)]
    assert points.count("●") == 5
    assert numbers.split() == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("depth", "drawn"),
    [
        (12, "θ0 ├●────●────●─────●──│─●────●────●────●──│─●─────●────●────●┤ θ2"),
        (3, "θ0 ├●─────────────│─────────────●──────────────│─────────────●┤ θ2"),
        (2, "θ0 ├●────────────────────────────│───────────────────────────●┤ θ1"),
        (1, "θ0 ├●─────────────────────────────────────────────────────────┤ θ0"),
    ],
)
def test_layers_that_are_blocks_stand_in_their_stages(header: LearngeneHeader, depth: int, drawn: str) -> None:
    thirds = replace(header, basis=parse_basis("piecewise:3"))
    assert descendant._rule(thirds, depth) == "every layer is one of 3 blocks"
    assert descendant._layers(thirds, depth, 66)[0].plain == drawn


def test_stages_are_a_line_each_and_the_elastic_one_has_the_depth(header: LearngeneHeader) -> None:
    lines = [line.plain for line in descendant._layers(staged(header), 5, 60)]
    assert [line.count("●") for line in lines] == [2, 2, 5, 0, 2]
    assert [line[:8] for line in lines] == ["stage 1 ", "stage 2 ", "stage 3 ", " " * 8, "stage 4 "]
    assert lines[3].split() == ["1", "2", "3", "4", "5"]
    assert all(len(line) <= 60 for line in lines)


@pytest.mark.parametrize(
    ("sampling", "drawn"),
    [(None, "one a step"), ("balanced", "one a step, shallow ones more often"), ("sandwich", "three a step")],
)
def test_the_facts_say_how_depths_were_drawn(header: LearngeneHeader, sampling: str | None, drawn: str) -> None:
    auxiliary = replace(header.auxiliary, sampled_depths=(3, 4, 5, header.auxiliary.depth))
    learned = header.learned if sampling is None else {**header.learned, "sampling": sampling}
    told = dict(descendant._facts(replace(header, auxiliary=auxiliary, learned=learned)))
    assert told["trained at"] == f"depths 3–5, 12, {drawn}"


def test_the_facts_and_the_rule_speak_of_stages(header: LearngeneHeader) -> None:
    assert ("stages", "2-2-N-2 blocks, N the depth") in descendant._facts(staged(header))
    assert "stages" not in dict(descendant._facts(header))
    assert "l/L of its stage" in descendant._rule(staged(header), 5)
    assert "l/5" in descendant._rule(header, 5)
    assert preview(staged(header), [5]).rows[0].depth == 5
