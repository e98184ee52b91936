"""The table of arms that learn a teacher's features: cosines by arm, and paired tests. Standard library only.

Such an arm has no accuracy (docs/unlabelled.md): its learngene's header keeps the cosine with the teacher by depth.
"""

from tleg.study.markup import EMPTY, Table
from tleg.study.measured import Measured
from tleg.study.results import Trained
from tleg.study.statistics import Paired, holm, paired, summarise
from tleg.study.tables import TEST, format_p
from tleg.text import join_words


def cosine_tests(measured: Measured, data: str) -> Table | None:
    """Mean cosines of the arms on some data, over the depths that all have, each tested against the reference by seed.

    The reference is the study's where it has cosines, else the first arm that has. None without any.
    """
    trained = {arm: [each for each in measured.trainings(arm, data) if each.cosine] for arm in measured.arms}
    trained = {arm: some for arm, some in trained.items() if some}
    common = (
        sorted(set.intersection(*(set(each.cosine or ()) for some in trained.values() for each in some))) if trained else []
    )
    if not common:
        return None
    means = {arm: {each.seed: _mean(each, common) for each in some} for arm, some in trained.items()}
    reference = measured.reference if measured.reference in means else next(iter(means))
    results = {arm: paired(values, means[reference]) for arm, values in means.items() if arm != reference}
    tested = [arm for arm, result in results.items() if result is not None]
    corrected = dict(zip(tested, holm([result.p for result in results.values() if result is not None]), strict=True))
    rows = []
    for arm, values in means.items():
        summary = summarise(list(values.values()))
        spread = "" if summary.std is None else f" ± {summary.std:.4f}"
        cells = _cells(results.get(arm), corrected.get(arm))
        rows.append((arm, f"{summary.mean:.4f}{spread}", str(summary.n), *cells))
    where = f"Mean over depths {join_words([str(depth) for depth in common])}" if len(common) > 1 else f"Depth {common[0]}"
    note = (
        f"Mean cosine with the teacher's features on validation images. {where}. Minus {reference}, paired by seed. {TEST}"
    )
    return Table(("arm", "cosine", "n", "difference", "95 % interval", "p", "p (Holm)"), tuple(rows), note, left=1)


def _mean(trained: Trained, depths: list[int]) -> float:
    cosine = trained.cosine or {}
    return sum(cosine[depth] for depth in depths) / len(depths)


def _cells(result: Paired | None, corrected: float | None) -> tuple[str, ...]:
    if result is None:
        return (EMPTY,) * 4
    interval = EMPTY if result.interval is None else " to ".join(_signed(value) for value in result.interval)
    return _signed(result.difference), interval, format_p(result.p), format_p(corrected)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")
