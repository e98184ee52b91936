"""Every event: what is written is what is read, and nothing that another program writes breaks a viewer."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import clean_environment
from tests.runs.test_history import JUNK
from tleg.runs.events import Event, EventReader, EventWriter
from tleg.runs.payload import Report
from tleg.runs.reports import REPORTS, DepthScore, DeviceReport, DeviceSample, EvaluationReport, FinishReport, StageReport
from tleg.runs.run import RunFolder
from tleg.serialize import to_json

ROOT = Path(__file__).resolve().parents[2]
# JSON has no other numbers, and a whole number is read as a float where one is expected.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
KINDS = pytest.mark.parametrize("kind", REPORTS.values(), ids=lambda kind: kind.kind)
# The payloads of version 1 of the format, as they were when it began: readers of that time look for these.
VERSION_1 = {
    "started": "step steps epochs restart resumed_from host pid world_size device precision threads reason versions",
    "stage": "name text done total",
    "step": "step steps epoch epochs loss task_loss distillation_loss learning_rate gradient_norm images_per_second "
    "data_wait depth scale",
    "evaluation": "step epoch weights scores images_per_second",
    "checkpoint": "step name seconds bytes best",
    "device": "devices host",
    "warning": "code text step",
    "log": "text",
    "finished": "state reason exit_code step result",
}


@KINDS
@given(data=st.data())
def test_what_is_written_is_what_is_read(kind: type[Report], data: st.DataObject) -> None:
    report = data.draw(st.builds(kind))
    assert kind.read(report.t, report.payload()) == report
    stored = json.loads(to_json(report.payload()))
    assert Event(1, 0, report.t, kind.kind, stored).read() == report


@KINDS
@given(data=st.data())
def test_no_payload_is_refused(kind: type[Report], data: st.DataObject) -> None:
    names = st.sampled_from([each.name for each in fields(kind)]) | st.text(max_size=3)
    report = kind.read(5.0, data.draw(st.dictionaries(names, JUNK)))
    assert report.t == 5.0
    # Whatever came in, what is kept has the types that it should have: it can be written and read again.
    assert kind.read(5.0, json.loads(to_json(report.payload()))) == report


@KINDS
def test_every_field_can_be_missing(kind: type[Report]) -> None:
    assert all(each.default is not MISSING or each.default_factory is not MISSING for each in fields(kind))
    assert kind.read(1.0, {}) == kind(t=1.0)


def test_viewers_of_version_1_find_what_they_know() -> None:
    """Names may be added, and none may go."""
    for name, names in VERSION_1.items():
        assert set(names.split()) <= set(REPORTS[name]().payload()), name
    assert " ".join(DepthScore.__dataclass_fields__) == "depth top1 top5 loss images nonfinite cosine"
    sample = "index name utilisation memory_used memory_total temperature power"
    assert " ".join(DeviceSample.__dataclass_fields__) == sample


def test_a_type_of_a_newer_version_is_no_report() -> None:
    assert Event(1, 0, 1.0, "novelty", {"step": 3}).read() is None


def test_images_without_figures_are_told_only_where_there_are_some() -> None:
    report = EvaluationReport(scores=(DepthScore(depth=3, top1=50.0), DepthScore(depth=8, nonfinite=2)))
    rows = report.payload()["scores"]
    assert rows[0] == {"depth": 3, "top1": 50.0, "top5": None, "loss": None, "images": None}
    assert rows[1]["nonfinite"] == 2
    assert (report.top1, report.averaged) == (None, 1)


def test_what_is_of_another_type_is_as_if_it_were_missing() -> None:
    assert StageReport.read(1.0, {"name": "data", "done": True, "total": 2.0}) == StageReport(
        t=1.0, name="data", text="data"
    )
    assert FinishReport.read(1.0, {"state": "exploded", "exit_code": 3}).state == "failed"
    found = DeviceReport.read(1.0, {"devices": [{"index": 0, "power": "much"}, 7, None], "host": []})
    assert found == DeviceReport(t=1.0, devices=(DeviceSample(index=0),))
    assert EvaluationReport.read(1.0, {"scores": {"depth": 3}}).scores == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, True, "1", [1.0]])
def test_what_is_no_finite_number_is_none(value: Any) -> None:
    assert EvaluationReport.read(1.0, {"images_per_second": value}).images_per_second is None


def test_reports_are_written_as_events(run: RunFolder) -> None:
    with EventWriter(run) as writer:
        writer.report(StageReport(name="data", text="opening data", done=1, total=3))
    (event,) = EventReader(run).read()
    assert (event.type, event.seq) == ("stage", 0)
    assert event.payload == {"name": "data", "text": "opening data", "done": 1, "total": 3}
    assert event.read() == StageReport(t=event.t, name="data", text="opening data", done=1, total=3)


def test_the_documentation_follows_from_the_code() -> None:
    command = [sys.executable, "docs/make_tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
