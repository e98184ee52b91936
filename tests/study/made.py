"""Results of a study that never was, with numbers whose tables can be computed by hand."""

from tleg.study.results import CurvePoint, Failed, StudyResults, Trained, Tried

DEPTHS = (3, 6, 12)
STUDY = """\
title = "Which basis"
seeds = [0, 1, 2]
depths = [3, 6, 12]
budget = { epochs = 4 }
[arms.linear]
kind = "learn"
[arms.chebyshev]
kind = "learn"
[arms.free]
kind = "train"
[arms.fine]
kind = "finetune"
start = "chebyshev"
"""
# Percent, by arm, of seed 0 at depth 3; other seeds and depths are a fixed step away.
BASE = {"linear": 12.0, "chebyshev": 58.0, "free": 60.0, "fine": 62.0}
KINDS = {"linear": "learn", "chebyshev": "learn", "free": "train", "fine": "finetune"}
# What a seed changes, in points: not the same for every arm, so that differences have a spread.
SEEDS = {"linear": (0.0, 0.5, 1.0), "chebyshev": (0.0, 1.0, 2.0), "free": (0.0, 2.0, 1.0), "fine": (0.0, 1.0, 3.0)}


def accuracy(arm: str, data: str, seed: int, depth: int) -> float:
    """The accuracy of an arm in percent."""
    shift = -2.0 * DEPTHS.index(depth) if arm == "free" else 0.5 * DEPTHS.index(depth)
    return BASE[arm] + SEEDS[arm][seed] + shift + (20.0 if data == "fashion" else 0.0)


def trained(arm: str, data: str, seed: int, depth: int | None, epochs: int = 4) -> Trained:
    """A training whose accuracy grows evenly with its epochs, up to that of `accuracy`."""
    end = {each: accuracy(arm, data, seed, each) for each in (DEPTHS if depth is None else (depth,))}
    cost = 10**12 * (6 if depth is None else depth)
    curve = tuple(
        CurvePoint(
            epoch=float(epoch),
            macs=cost * epoch,
            seconds=60.0 * epoch,
            top1={each: round(top1 * epoch / epochs, 4) for each, top1 in end.items()},
        )
        for epoch in range(1, epochs + 1)
    )
    parameters = 200_000 if depth is None else 50_000 * depth
    return Trained(
        task=f"{arm}/{data}/seed-{seed}" + ("" if depth is None else f"/depth-{depth}"),
        arm=arm,
        data=data,
        seed=seed,
        depth=depth,
        kind=KINDS[arm],
        values={"basis": arm},
        run=f"run-{arm}-{data}-{seed}-{depth}",
        epochs=epochs,
        images=30_000 * epochs,
        macs=cost * epochs,
        seconds=60.0 * epochs,
        parameters=parameters,
        bytes=4 * parameters,
        top1=end,
        curve=curve,
    )


def made(data: tuple[str, ...] = ("glyphs",), seeds: tuple[int, ...] = (0, 1, 2)) -> StudyResults:
    """The results of four arms: two learngenes, models trained alone, and a learngene's descendants, fine-tuned."""
    trainings = [
        trained(arm, name, seed, depth, 1 if arm == "fine" else 4)
        for name in data
        for arm in ("linear", "chebyshev", "free", "fine")
        for seed in seeds
        for depth in ((None,) if KINDS[arm] == "learn" else DEPTHS)
    ]
    return StudyResults(
        title="Which basis",
        study=STUDY,
        arms={
            "linear": "the paper's basis",
            "chebyshev": "the same span, better conditioned",
            "free": "each depth by itself",
            "fine": "descendants of chebyshev, one epoch each",
        },
        depths=DEPTHS,
        seeds=seeds,
        budget={"epochs": 4},
        versions={"tleg": "0.1", "torch": "2.9"},
        machine="2 processors, 1 slot",
        complete=True,
        trained=tuple(trainings),
        tried=(
            Tried(arm="linear", data="glyphs", values={"lr": 0.001}, top1=13.8, seeds=(100,), chosen=True),
            Tried(arm="linear", data="glyphs", values={"lr": 0.003}, top1=None, seeds=(100,), chosen=False),
        ),
        failed=(Failed(task="fine/glyphs/seed-9/depth-3", run="run-x", reason="the loss is not finite | twice"),),
    )
