"""Why a key of the workbench does nothing now, in a sentence."""

from tleg_tui.common.learngenes import Entry


def what_is_missing(action: str, entry: Entry | None, pinned: int, roomy: tuple[int, int]) -> str:
    """Say what an action needs that is not there; '' for one that needs nothing.

    entry   the chosen learngene
    pinned  how many depths are pinned
    roomy   columns and lines of a terminal in which the frontier is drawn
    """
    match action:
        case "build" | "finetune" | "family" | "evaluate" | "pin":
            if entry is None:
                return "no learngene is chosen: o opens one"
            return f"{entry.name} cannot be used: tab, then ↑ ↓ choose another"
        case "compare":
            return f"c compares two depths: p pins the chosen one, {'none' if pinned == 0 else 'one'} of two is pinned"
        case "axis":
            width, height = roomy
            return f"v turns the frontier, which is drawn in terminals of {width} x {height} and more, for a learngene"
        case "last_run":
            return "there is no run yet: f and l start one"
        case "forget":
            places = {"shipped": "comes with tleg", "folder": "lies in this folder", "run": "is the result of a run"}
            named = "" if entry is None else f": {entry.name} {places.get(entry.origin, '')}"
            return f"del takes off what was opened with o{named}"
    return ""
