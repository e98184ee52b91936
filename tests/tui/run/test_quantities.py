"""The curves and figures of a run follow from the table of step scalars."""

import pytest

from tleg.runs.events import Event
from tleg.runs.history import RunSnapshot, fold
from tleg.runs.scalars import SCALARS, Scalar, StepReport
from tleg_tui.run.charts import (
    ACCURACY,
    DEPTHS,
    FORMS,
    LOSS,
    QUANTITIES,
    View,
    make_plot,
    pages_of,
    quantities_of,
)
from tleg_tui.run.status import _others


def snapshot(**values: float) -> RunSnapshot:
    events = [Event(1, step, 1.0, "step", {"step": step, "steps": 4, **values}) for step in (1, 2)]
    return fold(RunSnapshot(), events)


def test_every_scalar_with_a_curve_is_drawn_and_on_a_page() -> None:
    drawn = {name for name, each in SCALARS.items() if each.fold is not None}
    assert {each.field for each in QUANTITIES} == drawn | {""}
    first = ["loss", "accuracy", "learning rate", "images per second", "gradient norm"]
    assert [each.name for each in QUANTITIES[:5]] == first
    for quantities in (QUANTITIES, (LOSS, ACCURACY, DEPTHS, *QUANTITIES[2:])):
        for count in (2, 4):
            pages = pages_of(quantities, count)
            assert {each for page in pages for each in page} == set(quantities)
            assert {len(page) for page in pages} <= {2, 4}
            assert pages[0][:2] == (LOSS, ACCURACY)


@pytest.mark.parametrize("name", [name for name, each in SCALARS.items() if each.fold is not None])
def test_a_plot_has_the_values_of_its_scalar(name: str) -> None:
    (quantity,) = quantities_of({name: SCALARS[name]})
    plot = make_plot(quantity, snapshot(**{name: 0.25}), None, View(log=True))
    (line,) = plot.lines
    assert [point.mean for point in line.points if point is not None] == [0.25, 0.25]
    assert plot.value == FORMS[SCALARS[name].form][0](0.25)
    assert plot.log == (SCALARS[name].axis == "free")


def test_a_scalar_that_is_new_is_drawn_without_another_edit() -> None:
    table = {**SCALARS, "wait": Scalar(label="waiting", about="", form="share", fold="last", brief="wait")}
    *others, quantity = quantities_of(table)
    assert [LOSS, ACCURACY, *others[1:]] == list(QUANTITIES)
    assert (quantity.name, quantity.field, quantity.brief, quantity.smooth) == ("waiting", "wait", "wait", False)
    assert quantity.write(quantity.times * 0.25) == "25 %"


def test_a_new_figure_without_a_curve_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    report = StepReport(step=1, distillation_loss=1.25, data_wait=0.25)
    assert _others(report) == [" 1.2500 teacher", " 25 % waiting"]
    assert _others(StepReport(step=1, data_wait=0.2)) == []
    monkeypatch.setitem(SCALARS, "depth", Scalar(label="depth", about="", form="count", brief="deep"))
    assert _others(StepReport(step=1, depth=12)) == ["    12 deep"]
