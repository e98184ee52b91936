"""The budget of a study: how much each training, or the family of all depths of an arm, may have. Standard library alone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from tleg.errors import InputError, did_you_mean

Unit = Literal["epochs", "images", "macs", "minutes"]
Whose = Literal["training", "family"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
# Below it nothing is trained that deserves the name.
_LEAST_EPOCHS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much there is, above 0.

    unit  epochs; training images seen; multiply-accumulates of training; minutes of training
    of    'training': each has it. 'family': all trainings of an arm, data set and seed have it together
    """

    unit: Unit
    amount: float
    of: Whose = "training"

    @property
    def document(self) -> dict[str, Any]:
        """As a study's file and its results say it."""
        return {self.unit: self.amount, "of": self.of}

    def epochs(self, epoch: float) -> int:
        """Return the whole epochs that it is enough for, to the nearest.

        epoch  what an epoch of all that has the budget takes of it

        Raises InputError when that is less than half an epoch, or more than anybody could train.
        """
        exact = self.amount / epoch if epoch > 0 else math.inf
        if exact < _LEAST_EPOCHS:
            raise InputError(
                f"a budget of {self} is less than half an epoch, which takes {epoch:,.6g}",
                field="study",
                code="out-of-range",
            )
        if not exact < 1e9:
            raise InputError(f"a budget of {self} is more epochs than can be trained", field="study", code="out-of-range")
        return max(1, math.floor(exact + 0.5))

    def __str__(self) -> str:
        return f"{self.amount:,.15g} {'MACs' if self.unit == 'macs' else self.unit}"


def read_budget(table: Mapping[str, Any]) -> Budget:
    """Return the budget of the table [budget]. Raises InputError naming what is unknown, missing or wrong."""
    known = (*UNITS, "of")
    for name in table:
        if name not in known:
            raise InputError(
                f"[budget] has an unknown key '{name}'.{did_you_mean(name, known)}", field="study", code="unknown-name"
            )
    given = [unit for unit in UNITS if unit in table]
    if len(given) != 1:
        raise InputError(
            f"[budget] takes one of {', '.join(UNITS)}, not {len(given)} of them",
            field="study",
            code="conflict" if given else "missing",
        )
    amount, of = table[given[0]], table.get("of", "training")
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < math.inf:
        raise InputError(f"[budget] {given[0]}: give a number above 0", field="study", code="malformed")
    if of not in get_args(Whose):
        raise InputError(f'[budget] of: write "training" or "family", not {of!r}', field="study", code="malformed")
    return Budget(unit=given[0], amount=amount, of=cast(Whose, of))
