"""Depths that are numbers, and profiles that say how many blocks every stage has."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import DepthError, FileFormatError, InputError
from tleg.learngene.container import read_header
from tleg.learngene.cost import Budget, StageCost
from tleg.learngene.header import LearngeneHeader, Reached
from tleg.learngene.preview import preview
from tleg.learngene.profile import Depth, format_depth, parse_depth, parse_profiles

PROFILES = st.lists(st.integers(1, 1024), min_size=3, max_size=8).map(tuple)


@given(st.one_of(st.integers(1, 1024), PROFILES))
def test_depths_are_read_as_they_are_written(depth: Depth) -> None:
    assert parse_depth(format_depth(depth)) == depth
    assert parse_profiles(format_depth(depth)) == (depth,)


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("4", (4,)),
        ("2-4", (2, 3, 4)),
        ("8, 2-2-6-2,4 ,1-1-3", (4, 8, (2, 2, 6, 2), (1, 1, 3))),
        ("2-2-6-2,2-2-6-2", ((2, 2, 6, 2),)),
    ],
)
def test_lists_have_numbers_ranges_and_profiles(text: str, depths: tuple[Depth, ...]) -> None:
    assert parse_profiles(text) == depths


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2-0-6-2", "stage 1 of a profile: depth 0 is out of range"),
        ("2-2-6-2000", "stage 3 of a profile: depth 2000 is out of range"),
        ("2-2-", "cannot read '2-2-'"),
        ("-1", "depth -1 is out of range"),
        ("two", "cannot read 'two'"),
        ("", "cannot read ''"),
    ],
)
def test_what_is_no_depth_is_refused(text: str, says: str) -> None:
    with pytest.raises(DepthError, match=says):
        parse_depth(text)


@given(st.text(max_size=20))
def test_anything_is_a_list_of_depths_or_an_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert parse_profiles(text)


@pytest.fixture
def header(learngene_file: Path) -> LearngeneHeader:
    """A header of three stages, 2-4-2, of which the second is elastic; a block of each costs 10, 20 and 40."""
    known = read_header(learngene_file)
    architecture = replace(known.architecture, structure=None, stages=(2, 4, 2), elastic=1)
    stages = tuple(StageCost(value, 100 * value, 1000 * value) for value in (10, 20, 40))
    one = replace(known.cost.parameters, attention=10, mlp=8, norm=2, stem=500)
    macs = replace(known.cost.macs, attention=1000, mlp=800, norm=200, stem=50_000)
    cost = replace(known.cost, parameters=one, macs=macs, training_bytes_per_layer=20_000, stages=stages)
    auxiliary = replace(known.auxiliary, depth=4)
    return replace(known, architecture=architecture, cost=cost, auxiliary=auxiliary, reached=None)


def test_cost_is_affine_in_every_stage(header: LearngeneHeader) -> None:
    own = header.cost_at(4)
    assert header.cost_at((2, 4, 2)) == replace(own, depth=(2, 4, 2))
    other = header.cost_at((3, 6, 1))
    assert other.parameters == own.parameters + 10 + 2 * 20 - 40
    assert other.macs == own.macs + 1000 + 2 * 2000 - 4000
    per_image = (other.training_memory - 16 * other.parameters) - (own.training_memory - 16 * own.parameters)
    assert per_image == 10_000 + 2 * 20_000 - 40_000


def test_a_profile_that_says_no_more_than_a_number_is_one(header: LearngeneHeader) -> None:
    architecture = header.architecture
    assert architecture.simplest((2, 7, 2)) == 7
    assert architecture.simplest((2, 7, 3)) == (2, 7, 3)
    assert architecture.simplest(7) == 7
    with pytest.raises(DepthError, match="has 3 stages, as in 2-4-2, and 1-2-3-4 names 4"):
        architecture.profile((1, 2, 3, 4))


def test_a_plain_vit_has_one_stage(learngene_file: Path) -> None:
    architecture = read_header(learngene_file).architecture
    assert architecture.simplest((5,)) == 5
    with pytest.raises(DepthError, match="has one stage, and 2-2-6-2 names 4"):
        architecture.profile((2, 2, 6, 2))


def test_every_stage_is_scaled_with_the_depth(header: LearngeneHeader) -> None:
    depths: tuple[Depth, ...] = (1, 2, 3, 4, 6, 8, (1, 1, 1))
    assert tuple(map(header.scaled, depths)) == (
        *((1, 1, 1), (1, 2, 1), 3, 4, (3, 6, 3), (4, 8, 4)),
        (1, 1, 1),
    )
    single = replace(header, architecture=replace(header.architecture, stages=(), elastic=0))
    assert tuple(map(single.scaled, (1, 2))) == (1, 2)


def test_previews_show_profiles_with_what_they_reach(header: LearngeneHeader) -> None:
    found = header.with_measured(Reached.of("d", 10, {4: 80.0, (1, 2, 1): 70.0}))
    assert found.version == 2
    assert found.reached is not None
    assert (found.reached.top1, found.reached.profiles) == ({4: 80.0}, {"1-2-1": 70.0})
    shown = preview(found, (4, (1, 2, 1), (2, 4, 2)))
    # Those of the fewest blocks first: 1-2-1 has four, and depth 4 is 2-4-2.
    assert [(row.depth, row.profile, row.top1) for row in shown.rows] == [
        ((1, 2, 1), (1, 2, 1), 70.0),
        (4, (2, 4, 2), 80.0),
    ]
    assert [row.blocks for row in shown.rows] == [4, 8]
    more = found.with_measured(Reached.of("d", 10, {(1, 2, 1): 70.0, (1, 1, 1): 60.0}))
    assert more.reached is not None
    assert more.reached.by_depth == {4: 80.0, (1, 2, 1): 70.0, (1, 1, 1): 60.0}
    with pytest.raises(InputError, match=r"70.00 % for depth 1-2-1 already, and 71.00 % was measured"):
        found.with_measured(Reached.of("d", 10, {(1, 2, 1): 71.0}))


def test_the_deepest_has_the_most_blocks_in_all_stages(header: LearngeneHeader) -> None:
    shown = preview(header, (3, (1, 5, 1)), Budget(parameters=10**9))
    assert shown.deepest is not None
    assert shown.deepest.cost.macs == max(row.cost.macs for row in shown.rows)  # Both have seven blocks.
    shown = preview(header, (4, (1, 5, 1)), Budget(parameters=10**9))
    assert shown.deepest is not None
    assert shown.deepest.depth == 4


def test_parts_of_a_profile_are_what_it_costs(header: LearngeneHeader) -> None:
    for depth in (4, (3, 6, 1), (1, 1, 1)):
        parts, cost = header.parts_at(depth), header.cost_at(depth)
        assert [sum(figures) for figures in zip(*parts.values(), strict=True)] == [cost.parameters, cost.macs]
    assert header.parts_at((3, 6, 1))["mlp"] == (6 * 8, 6 * 800)


def test_stages_whose_costs_are_not_known(header: LearngeneHeader) -> None:
    with pytest.raises(FileFormatError, match="the costs of its stages are not known"):
        replace(header, cost=replace(header.cost, stages=None)).cost_at((1, 2, 1))
