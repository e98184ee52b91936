"""What a study measured, by arm, data set, depth and seed. Standard library only."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from tleg.errors import InputError
from tleg.study.file import ARM
from tleg.study.results import CurvePoint, StudyResults, Trained
from tleg.study.statistics import Summary, summarise

Cost = Literal["macs", "seconds", "parameters", "bytes"]


class Measured:
    """Results of a study with the questions that tables and plots ask of them.

    reference  the arm that others are compared with: the one that is given, else the first of separate models, else the
               arm with the best mean over depths and data. None without any training. Raises InputError for an unknown arm.
    """

    def __init__(self, results: StudyResults, reference: str | None = None) -> None:
        self.results = results
        if reference is not None and reference not in self.arms:
            named = ", ".join(self.arms) or "none"
            raise InputError(
                f"the study has no results of an arm {reference!r}; it has: {named}", field="reference", code="unknown-name"
            )
        self.reference = reference or self._default_reference()

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """The arms with results, in the order of the study."""
        seen = dict.fromkeys(each.arm for each in self.results.trained)
        return (*(arm for arm in self.results.arms if arm in seen), *(arm for arm in seen if arm not in self.results.arms))

    @cached_property
    def data(self) -> tuple[str, ...]:
        """The data sets with results."""
        return tuple(dict.fromkeys(each.data for each in self.results.trained))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """All depths with results, rising: those of the study, and others that an arm was measured at."""
        return tuple(sorted({depth for each in self.results.trained for depth in each.top1}))

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        try:
            arms = tomllib.loads(self.results.study).get("arms", {})
        except tomllib.TOMLDecodeError:
            return {}
        return arms if isinstance(arms, dict) else {}

    def kind(self, arm: str) -> str:
        """'learn', 'train' or 'finetune'."""
        return next(each.kind for each in self.results.trained if each.arm == arm)

    def start(self, arm: str) -> str | None:
        """The arm whose results an arm starts from, where the study's file says so."""
        start = self._named_start(arm)
        # Results may be of any file: arms that start from each other have no start.
        seen = {arm}
        before = start
        while before is not None:
            if before in seen:
                return None
            seen.add(before)
            before = self._named_start(before)
        return start

    def _named_start(self, arm: str) -> str | None:
        start = self._setting(arm, "start")
        if not isinstance(start, str) or (self.kind(arm) == "learn" and not start.startswith(ARM)):
            return None
        named = start.removeprefix(ARM)
        return named if named in self.arms else None

    def _setting(self, arm: str, name: str) -> Any:
        settings = self._settings.get(arm)
        return settings.get(name) if isinstance(settings, dict) else None

    def trainings(self, arm: str, data: str, seed: int | None = None) -> list[Trained]:
        """The trainings of an arm on some data, with one seed or all."""
        return [
            each
            for each in self.results.trained
            if each.arm == arm and each.data == data and (seed is None or each.seed == seed)
        ]

    def arms_on(self, data: str, *kinds: str) -> list[str]:
        """The arms with results on some data, of some kinds or of all."""
        return [arm for arm in self.arms if self.trainings(arm, data) and (not kinds or self.kind(arm) in kinds)]

    def accuracies(self, arm: str, data: str, depth: int) -> dict[int, float]:
        """The accuracy in percent by seed."""
        return {each.seed: each.top1[depth] for each in self.trainings(arm, data) if depth in each.top1}

    def accuracy(self, arm: str, data: str, depth: int) -> Summary | None:
        """Mean and spread over seeds; None without any."""
        values = list(self.accuracies(arm, data, depth).values())
        return summarise(values) if values else None

    def depths_of(self, arm: str, data: str) -> tuple[int, ...]:
        """The depths at which an arm was measured with any seed, rising."""
        return tuple(sorted({depth for each in self.trainings(arm, data) for depth in each.top1}))

    def means(self, arm: str, data: str, depths: Sequence[int]) -> dict[int, float]:
        """The mean over depths by seed, of the seeds that have all of them."""
        by_depth = [self.accuracies(arm, data, depth) for depth in depths]
        if not by_depth:
            return {}
        return {
            seed: sum(values[seed] for values in by_depth) / len(by_depth)
            for seed in by_depth[0]
            if all(seed in values for values in by_depth)
        }

    def families(self, arm: str, data: str) -> Iterator[list[Trained]]:
        """The trainings that make the whole family, of every seed that has them all: one learngene, or a model a depth."""
        wanted = set(self.depths_of(arm, data))
        if not wanted:
            return
        for seed in dict.fromkeys(each.seed for each in self.trainings(arm, data)):
            trained = self.trainings(arm, data, seed)
            if {depth for each in trained for depth in each.top1} >= wanted:
                yield trained

    def family(self, arm: str, data: str, cost: Cost, *, with_start: bool = False) -> float | None:
        """What an arm's whole family costs, the mean over seeds: None where a part is not known, or no family is whole.

        with_start  add what the arm costs that it starts from
        """
        sums = []
        for trained in self.families(arm, data):
            values = [getattr(each, cost) for each in trained]
            if any(value is None for value in values):
                return None
            sums.append(sum(values))
        if not sums:
            return None
        before = self.before(arm, data, cost) if with_start else 0.0
        return None if before is None else before + sum(sums) / len(sums)

    def before(self, arm: str, data: str, cost: Cost) -> float | None:
        """What it cost, the mean over seeds, to make what an arm starts from; 0 for what starts from nothing that is known.

        Of models of a depth each it is the one that the study's file names.
        """
        start = self.start(arm)
        if start is None:
            return 0.0
        if self.kind(start) == "learn":
            return self.family(start, data, cost, with_start=True)
        depth = self._setting(arm, "start-depth")
        values = [getattr(each, cost) for each in self.trainings(start, data) if each.depth == depth]
        further = self.before(start, data, cost)
        if not values or further is None or any(value is None for value in values):
            return None
        return further + float(sum(values)) / len(values)

    def _default_reference(self) -> str | None:
        separate = next((arm for arm in self.arms if self.kind(arm) == "train"), None)
        if separate is not None:
            return separate
        candidates = [arm for arm in self.arms if self.kind(arm) == "learn"] or self.arms
        return max(candidates, key=self._overall, default=None)

    def _overall(self, arm: str) -> float:
        summaries = [self.accuracy(arm, data, depth) for data in self.data for depth in self.depths]
        means = [each.mean for each in summaries if each is not None]
        return sum(means) / len(means) if means else float("-inf")


def points(trained: Trained) -> list[CurvePoint]:
    """The curve of a training up to its end, by rising epoch; what was measured in the end counts."""
    end = CurvePoint(epoch=float(trained.epochs), macs=trained.macs, seconds=trained.seconds, top1=trained.top1)
    before = sorted((point for point in trained.curve if point.epoch < end.epoch), key=lambda point: point.epoch)
    return [*before, end]
