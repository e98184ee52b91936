"""The tables of a study, each with the number of seeds that it rests on. Standard library only.

Their names are 'KIND/DATA', such as 'accuracy/glyphs', and 'arms', 'tests', 'tuning', 'failures' for a whole study.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from tleg.study.markup import EMPTY, Cell, Table
from tleg.study.measured import Measured, points
from tleg.study.results import StudyResults, Trained
from tleg.study.statistics import SIGNIFICANT, Paired, Summary, holm, paired, summarise
from tleg.text import format_bytes, format_count, format_duration, join_words

KINDS: Final[Mapping[str, str]] = {"learn": "learngene", "train": "a model a depth", "finetune": "fine-tuned"}


def render_tables(results: StudyResults, reference: str | None = None) -> dict[str, str]:
    """Return the tables of a study as Markdown, by name. Raises InputError for a reference that is no arm."""
    return {name: table.markdown() for name, table in make_tables(Measured(results, reference)).items()}


def make_tables(measured: Measured) -> dict[str, Table]:
    """Return the tables by name: those for which there is something to show."""
    tables: dict[str, Table | None] = {"arms": arms(measured)}
    for data in measured.data:
        tables |= {
            f"accuracy/{data}": accuracy(measured, data, "learn", "train"),
            f"finetuned/{data}": accuracy(measured, data, "finetune"),
            f"reach/{data}": reach(measured, data),
            f"family/{data}": family(measured, data),
            f"tests/{data}": tests(measured, (data,)),
            f"tests-by-depth/{data}": tests_by_depth(measured, data),
        }
    if len(measured.data) > 1:
        tables["tests"] = tests(measured, measured.data)
    tables |= {"tuning": tuning(measured.results), "failures": failures(measured.results)}
    return {name: table for name, table in tables.items() if table is not None}


def arms(measured: Measured) -> Table:
    """What the arms are, in words, and how many trainings of each ended."""
    results = measured.results
    rows = []
    for arm in dict.fromkeys((*results.arms, *measured.arms)):
        trained = [each for each in results.trained if each.arm == arm]
        start = measured.start(arm) if trained else None
        kind = (KINDS.get(trained[0].kind, trained[0].kind) + (f", from {start}" if start else "")) if trained else EMPTY
        seeds = len({each.seed for each in trained})
        rows.append((arm, kind, results.arms.get(arm, ""), str(len(trained)), str(seeds)))
    return Table(("arm", "kind", "what it is", "trainings", "seeds"), tuple(rows), left=3)


def accuracy(measured: Measured, data: str, *kinds: str) -> Table | None:
    """Accuracy by depth: mean and spread over seeds; the best of a depth in bold where it is clearly above the next."""
    shown = measured.arms_on(data, *kinds)
    if not shown:
        return None
    summaries = {(arm, depth): measured.accuracy(arm, data, depth) for arm in shown for depth in measured.depths}
    depths = [depth for depth in measured.depths if any(summaries[arm, depth] for arm in shown)]
    usual = _usual(each.n for each in summaries.values() if each is not None)
    best = {depth: _clear_best(measured, data, depth, shown) for depth in depths}
    rows: list[tuple[str | Cell, ...]] = []
    for arm in shown:
        cells = [Cell(format_summary(summaries[arm, depth], usual), best[depth] == arm) for depth in depths]
        rows.append((arm, *cells))
    note = f"Top-1 in percent, {_count(usual, 'seed')}{_spread(usual)}."
    if any(best.values()):
        note += f" Bold: above the next of its column, paired by seed, p < {SIGNIFICANT}, not corrected."
    elif usual > 1 and len(shown) > 1:
        note += " No arm is clearly above the next at any depth."
    return Table(("arm", *(f"depth {depth}" for depth in depths)), tuple(rows), note)


def reach(measured: Measured, data: str) -> Table | None:
    """Epochs and compute until an arm is as good as the reference in the end, at each depth."""
    reference = measured.reference
    if reference is None or not measured.trainings(reference, data):
        return None
    targets = {depth: measured.accuracy(reference, data, depth) for depth in measured.depths_of(reference, data)}
    rows = [
        (arm, *(_reached(measured.trainings(arm, data), depth, target) for depth, target in targets.items()))
        for arm in measured.arms_on(data)
    ]
    header = tuple(f"depth {depth}: {target.mean:.1f}" for depth, target in targets.items() if target is not None)
    note = (
        f"Epochs and multiply-accumulates of the training until its accuracy is first that of {reference} in the end (the "
        "mean over seeds, in the head); in brackets how many of the trainings reach it, of which the means are. "
        "Accuracies are those of evaluations on the way, so epochs are rounded up to the next evaluation."
    )
    if any(measured.start(arm) for arm in measured.arms_on(data)):
        note += " What a training started from is not counted here."
    return Table(("arm", *header), tuple(rows), note)


def family(measured: Measured, data: str) -> Table | None:
    """What the family of all depths costs to train and to store, and which part of the reference's cost that is."""
    shown = measured.arms_on(data)
    reference = measured.reference if measured.reference in shown else None
    depths = {arm: measured.depths_of(arm, data) for arm in shown}
    rows: list[tuple[str, ...]] = []
    for arm in shown:
        macs = measured.family(arm, data, "macs", with_start=True)
        seconds = measured.family(arm, data, "seconds", with_start=True)
        parameters, size = measured.family(arm, data, "parameters"), measured.family(arm, data, "bytes")
        trained = (_or_empty(macs, format_count), _or_empty(seconds, format_duration))
        stored = (_or_empty(parameters, format_count), _or_empty(size, format_bytes))
        parts: tuple[str, ...] = ()
        if reference is not None:
            # A family of fewer depths costs less, which says nothing.
            same = depths[arm] == depths[reference]
            bases = (
                measured.family(reference, data, "macs", with_start=True),
                measured.family(reference, data, "bytes"),
            )
            parts = tuple(_times(value if same else None, base) for value, base in zip((macs, size), bases, strict=True))
        families = sum(1 for _ in measured.families(arm, data))
        rows.append((arm, ", ".join(map(str, depths[arm])), str(families), *trained, *stored, *parts))
    header: tuple[str, ...] = ("arm", "depths", "n", "training MACs", "time", "parameters", "stored")
    note = (
        "For all depths together, means over the n seeds with every depth. Training counts the arm that another "
        "started from, and a teacher's forward pass; a learngene is stored once, models a depth each."
    )
    if reference is not None:
        header += (f"MACs / {reference}", f"stored / {reference}")
    return Table(header, tuple(rows), note, left=2) if rows else None


def tests(measured: Measured, data: tuple[str, ...]) -> Table | None:
    """Paired tests of all arms against the reference, on the mean over depths."""
    reference = measured.reference
    if reference is None:
        return None
    compared, depths = [], []
    for arm in measured.arms:
        common = _common_depths(measured, arm, reference, data)
        first, second = (
            {(name, seed): mean for name in data for seed, mean in measured.means(each, name, common).items()}
            for each in (arm, reference)
        )
        result = None if arm == reference else paired(first, second)
        if result is not None:
            compared.append((arm, result))
            depths.append(common)
    if not compared:
        return None
    same = len(set(depths)) == 1
    corrected = holm([result.p for _, result in compared])
    rows = tuple(
        (arm, *(() if same else (", ".join(map(str, common)),)), *_test_cells(result, p))
        for (arm, result), p, common in zip(compared, corrected, depths, strict=True)
    )
    pairs = "seed" if len(data) == 1 else "data set and seed"
    over = ""
    if same:
        over = (
            f" Mean over depths {join_words(list(map(str, depths[0])))}."
            if len(depths[0]) > 1
            else f" Depth {depths[0][0]}."
        )
    note = f"Accuracy minus that of {reference}, in points, paired by {pairs}.{over} {TEST}"
    return Table(("arm", *(() if same else ("depths",)), *_TEST_HEADER), rows, note, left=1 if same else 2)


def tests_by_depth(measured: Measured, data: str) -> Table | None:
    """Paired tests of all arms against the reference at each depth."""
    reference = measured.reference
    if reference is None:
        return None
    rows = []
    for depth in measured.depths:
        base = measured.accuracies(reference, data, depth)
        results = [
            (arm, result)
            for arm in measured.arms_on(data)
            if arm != reference and (result := paired(measured.accuracies(arm, data, depth), base)) is not None
        ]
        corrected = holm([result.p for _, result in results])
        rows += [(str(depth), arm, *_test_cells(result, p)) for (arm, result), p in zip(results, corrected, strict=True)]
    note = f"Accuracy minus that of {reference}, in points, paired by seed. {TEST}"
    return Table(("depth", "arm", *_TEST_HEADER), tuple(rows), note, left=2) if rows else None


def tuning(results: StudyResults) -> Table | None:
    """What was tried before the study's own trainings, and what was chosen."""
    rows = tuple(
        (
            tried.arm,
            tried.data,
            ", ".join(f"{name} {format_value(value)}" for name, value in tried.values.items()),
            "failed" if tried.top1 is None else f"{tried.top1:.1f}",
            str(len(tried.seeds)),
            "yes" if tried.chosen else "",
        )
        for tried in results.tried
    )
    note = "Mean top-1 over depths and seeds, in percent; seeds of the tuning are none of the study's."
    return Table(("arm", "data", "values", "top-1", "n", "chosen"), rows, note, left=3) if rows else None


def failures(results: StudyResults) -> Table | None:
    """Trainings that did not end well."""
    rows = tuple((each.task, each.run, each.reason) for each in results.failed)
    return Table(("task", "run", "reason"), rows, left=3) if rows else None


def format_summary(summary: Summary | None, usual: int) -> str:
    """'58.6 ± 1.2', and the number of seeds where it is not the usual one: '58.6 ± 1.2 (n = 2)'."""
    if summary is None:
        return EMPTY
    spread = "" if summary.std is None else f" ± {summary.std:.1f}"
    return f"{summary.mean:.1f}{spread}" + ("" if summary.n == usual else f" (n = {summary.n})")


def format_value(value: object) -> str:
    """A value of an option as people write it: 0.003, true, 4."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {format_value(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    return str(value)


_TEST_HEADER: Final = ("n", "difference", "95 % interval", "p", "p (Holm)")
TEST: Final = (
    "Two-sided paired t-test with n - 1 degrees of freedom; Holm's correction over the arms. One pair is not tested."
)


def _reached(trained: Sequence[Trained], depth: int, target: Summary | None) -> str:
    """When trainings are first as good as a target: '4.0, 24.00 T (2/3)', epochs, MACs and how many of them ever are."""
    measured = [each for each in trained if depth in each.top1]
    if target is None or not measured:
        return EMPTY
    firsts = [
        next((point for point in points(each) if point.top1.get(depth, -1.0) >= target.mean), None) for each in measured
    ]
    found = [point for point in firsts if point is not None]
    share = f"({len(found)}/{len(measured)})"
    if not found:
        return f"no {share}"
    macs = [point.macs for point in found if point.macs is not None]
    cost = f", {format_count(sum(macs) / len(macs))}" if len(macs) == len(found) else ""
    return f"{sum(point.epoch for point in found) / len(found):.1f}{cost} {share}"


def _test_cells(result: Paired, corrected: float | None) -> tuple[str | Cell, ...]:
    interval = EMPTY if result.interval is None else f"{_signed(result.interval[0])} to {_signed(result.interval[1])}"
    clear = corrected is not None and corrected < SIGNIFICANT
    return (
        str(result.n),
        Cell(_signed(result.difference), clear),
        interval,
        format_p(result.p),
        Cell(format_p(corrected), clear),
    )


def format_p(p: float | None) -> str:
    """'0.032', '< 0.001'."""
    if p is None:
        return EMPTY
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _signed(value: float) -> str:
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def _times(value: float | None, base: float | None) -> str:
    return EMPTY if value is None or not base else f"{value / base:.2f}×"


def _or_empty(value: float | None, write: Callable[[float], str]) -> str:
    return EMPTY if value is None else write(value)


def _usual(counts: Iterable[int]) -> int:
    """The number of seeds that most cells have; of equally many the larger."""
    found = list(counts)
    return max(set(found), key=lambda n: (found.count(n), n), default=0)


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _spread(n: int) -> str:
    return ": mean ± standard deviation" if n > 1 else ""


def _clear_best(measured: Measured, data: str, depth: int, shown: list[str]) -> str | None:
    """The arm with the best mean where its paired difference from the next is significant."""
    values = {arm: accuracies for arm in shown if (accuracies := measured.accuracies(arm, data, depth))}
    ranked = sorted(values, key=lambda arm: -summarise(list(values[arm].values())).mean)
    if len(ranked) < 2:
        return None
    result = paired(values[ranked[0]], values[ranked[1]])
    clear = result is not None and result.p is not None and result.p < SIGNIFICANT and result.difference > 0
    return ranked[0] if clear else None


def _common_depths(measured: Measured, first: str, second: str, data: Iterable[str]) -> tuple[int, ...]:
    """The depths that both arms were measured at, on every data set that both have."""
    common: set[int] | None = None
    for name in data:
        depths = set(measured.depths_of(first, name)) & set(measured.depths_of(second, name))
        if depths:
            common = depths if common is None else common & depths
    return tuple(sorted(common or ()))
