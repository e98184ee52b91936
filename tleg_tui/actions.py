"""Every key and what it does, in one place: bindings, the bar of keys, the help and the command palette are made from it.

Letters are for panels and lists. Where text is typed, control and function keys act.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from textual.binding import Binding

PREFIX: Final = "tleg."


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a person can do.

    name      of the method, without 'action_', with arguments as Textual writes them
    keys      with commas; the first is the one that is shown
    label     a word or two, for the bar of keys
    about     a sentence, for help and palette
    bar       whether the bar of keys shows it
    palette   whether the palette offers it; moving a cursor is nothing to look up
    priority  whether it works before whatever has the focus. Then what is typed next goes where the action leads, however
              fast it comes: other actions are done only after the key has been offered to all that lies around the focus
    """

    name: str
    keys: str
    label: str
    about: str
    bar: bool = True
    palette: bool = True
    priority: bool = False


# By scope: the application, a screen, or a panel. In the order in which the bar shows them.
ACTIONS: Final[Mapping[str, tuple[Action, ...]]] = MappingProxyType(
    {
        "app": (
            Action("command_palette", "ctrl+p", "palette", "Look up everything that can be done now", palette=False),
            Action("change_theme", "f9", "theme", "Choose the colours", bar=False),
            Action("help_keys", "question_mark,f1", "help", "Show the keys of this screen", palette=False),
            Action("suspend_process", "ctrl+z", "suspend", "Go to the shell for a while; fg comes back", bar=False),
            Action("quit", "q,ctrl+q", "quit", "Leave; runs go on", bar=False),
        ),
        "workbench": (
            Action("build", "b,x", "build", "Build and export the chosen depth: PyTorch or ONNX, verified"),
            Action("finetune", "f", "fine-tune", "Fine-tune the chosen depth on your data"),
            Action("learn", "l", "learn", "Train an auxiliary model and keep its learngene"),
            Action("train", "t", "train", "Train a model, such as an ancestry model to learn from", bar=False),
            Action("evaluate", "e", "evaluate", "Measure the accuracy of every depth on a data set"),
            Action("budget", "slash", "budget", "Set limits: parameters, GMACs, size, memory, latency", priority=True),
            Action("runs", "r", "runs", "Show all runs"),
            Action("open", "o", "open", "Open a learngene file, or import an official checkpoint"),
            Action("axis", "v", "axis", "Turn the frontier: parameters, MACs, size, memory, latency, what the file says"),
            Action("family", "F", "family", "Make a model for each device of a list, with its budget"),
            Action("pin", "p", "pin", "Pin the chosen depth, to compare two", bar=False),
            Action("compare", "c", "compare", "Compare the two pinned depths", bar=False),
            Action("last_run", "a", "last run", "Watch the newest run", bar=False),
            Action("forget", "delete", "forget", "Take the chosen learngene off the list; its file stays", bar=False),
            Action("next_panel", "tab", "next panel", "Go on: depths, learngenes, budget", bar=False, palette=False),
        ),
        "learngenes": (
            Action("cursor_up", "up,k", "up", "The learngene above", bar=False, palette=False),
            Action("cursor_down", "down,j", "down", "The learngene below", bar=False, palette=False),
            Action("first", "home,g", "first", "The first learngene", bar=False, palette=False),
            Action("last", "end,G", "last", "The last learngene", bar=False, palette=False),
        ),
        "depths": (
            Action("move(-1)", "up,k", "up", "One depth less", bar=False, palette=False),
            Action("move(1)", "down,j", "down", "One depth more", bar=False, palette=False),
            Action("move(-8)", "pageup,ctrl+u", "page up", "Eight depths less", bar=False, palette=False),
            Action("move(8)", "pagedown,ctrl+d", "page down", "Eight depths more", bar=False, palette=False),
            Action("edge(-1)", "home,g", "first", "The shallowest depth", bar=False, palette=False),
            Action("edge(1)", "end,G", "last", "The deepest depth", bar=False, palette=False),
            Action("auxiliary", "m", "auxiliary", "Go to the auxiliary model's own depth", bar=False),
            Action("deepest", "d", "deepest", "Go to the deepest depth within the budget", bar=False),
        ),
        "train": (
            Action("launch", "f5", "launch", "Start the training as a run", priority=True),
            Action("dry_run", "f4", "dry run", "Check data, teacher, memory and disk; train nothing", priority=True),
            Action("pick", "f3", "pick", "Choose from what there is for this field", priority=True),
            Action("from_run", "f2", "from run", "Fill the form with the recipe of a run", priority=True),
            Action("copy_command", "f6", "copy", "Copy the equal command line", priority=True),
            Action("advanced", "f7", "more", "Show or fold away the advanced fields", priority=True),
            Action("move(-1)", "up", "up", "The field above", bar=False, palette=False),
            Action("move(1)", "down", "down", "The field below; Enter goes there as well", bar=False, palette=False),
            Action("back", "escape", "back", "Back to where you came from"),
        ),
        "family": (
            Action("start", "f5", "start", "Make a file for each device, in the background", priority=True),
            Action("save", "ctrl+s", "save", "Save the devices in the file of the form", priority=True),
            Action("open_file", "f2", "open", "Fill the form with the file that it names", priority=True),
            Action("progress", "f7", "progress", "Show how far the family of the output folder is", priority=True),
            Action("copy_command", "f6", "copy", "Copy the equal command line", priority=True),
            Action("move(-1)", "up", "up", "The field above", bar=False, palette=False),
            Action("move(1)", "down", "down", "The field below; Enter goes there as well", bar=False, palette=False),
            Action("back", "escape", "back", "From a field to the devices; from there back to where you came from"),
        ),
        "devices": (
            Action("cursor_up", "up,k", "up", "The device above", bar=False, palette=False),
            Action("cursor_down", "down,j", "down", "The device below", bar=False, palette=False),
            Action("select", "enter", "change", "Change what the chosen device asks for", bar=False),
            Action("add", "a,insert", "add", "Add a device like the chosen one"),
            Action("remove", "delete,D", "remove", "Take the chosen device off the list"),
        ),
        "family_progress": (
            Action("open_run", "enter", "run", "Watch the training of the chosen line"),
            Action("stop", "s", "stop", "Save and stop the training at work, and end the family; it can go on later"),
            Action("go_on", "R", "go on", "Go on with a family that ended: what is done is not done again"),
            Action("report", "o", "report", "Show what each device got: file, depth, size, accuracy, latency"),
            Action("copy_report", "y", "copy path", "Copy the path of the report"),
            Action("back", "escape,backspace", "back", "Back; the family goes on"),
        ),
        "family_report": (
            Action("copy_report", "y", "copy path", "Copy the path of the report, a page with tables and plots"),
            Action("back", "escape,backspace", "back", "Back to the progress of the family"),
        ),
        "run": (
            Action("stop", "s", "stop", "Finish the step, save a checkpoint and end the run"),
            Action("kill", "K", "kill", "Kill the run without saving, after a question", bar=False),
            Action("resume", "R", "resume", "Go on from the last checkpoint"),
            Action("export", "x", "export", "Export the result, or what is in the last checkpoint"),
            Action("again", "n", "again", "A new training with the recipe of this run"),
            Action("next_charts", "tab,full_stop", "charts", "Show the next curves"),
            Action("zoom", "z", "zoom", "All steps, or the last quarter, or the last 200"),
            Action("log_scale", "y", "log", "Logarithmic scale of the loss, and back"),
            Action("smooth", "m", "smooth", "Smooth the curves more, or not at all"),
            Action("compare", "c", "compare", "Draw the curves of another run as well, or take them away"),
            Action("command", "i", "about", "Show recipe, command, versions and origin of the run"),
            Action("back", "escape,backspace", "back", "Back; the run goes on"),
            Action("copy_attach", "u", "copy attach", "Copy the command that shows this run", bar=False),
            Action("focus_log", "L", "log", "Go to the log, to scroll in it", bar=False),
            Action("focus_events", "E", "events", "Go to the events, to scroll in them", bar=False),
            Action("follow", "end", "follow", "Follow the ends of log and events again", bar=False),
        ),
        "tail": (
            Action("scroll_tail(-1)", "up,k", "up", "One line up", bar=False, palette=False),
            Action("scroll_tail(1)", "down,j", "down", "One line down", bar=False, palette=False),
            Action("page(-1)", "pageup,ctrl+u", "page up", "A page up", bar=False, palette=False),
            Action("page(1)", "pagedown,ctrl+d", "page down", "A page down", bar=False, palette=False),
            Action("shift(-8)", "left", "left", "To the beginning of long lines", bar=False, palette=False),
            Action("shift(8)", "right", "right", "To the end of long lines", bar=False, palette=False),
            Action("top", "home,g", "first", "The first line", bar=False, palette=False),
            Action("follow", "end,G", "follow", "Follow the end", bar=False, palette=False),
        ),
        "runs": (
            Action("open", "enter", "open", "Watch the chosen run"),
            Action(
                "filter", "slash", "filter", "Show the runs whose name, kind, state or data has these words", priority=True
            ),
            Action("stop", "s", "stop", "Finish the step, save a checkpoint and end the run"),
            Action("resume", "R", "resume", "Go on from the last checkpoint"),
            Action("export", "x", "export", "Export the result, or what is in the last checkpoint"),
            Action("compare", "c", "compare", "Compare the chosen run with the marked one, or with one that you pick"),
            Action("mark", "space", "mark", "Mark the chosen run, to compare another with it", bar=False),
            Action("again", "n", "again", "A new training with the recipe of this run"),
            Action("delete", "D", "delete", "Delete the run with its checkpoints, after a question"),
            Action("back", "escape", "back", "Show all runs again; then back to the workbench"),
        ),
        "run_table": (
            Action("move(-1)", "up,k", "up", "One run up", bar=False, palette=False),
            Action("move(1)", "down,j", "down", "One run down", bar=False, palette=False),
            Action("page(-1)", "pageup,ctrl+u", "page up", "One page up", bar=False, palette=False),
            Action("page(1)", "pagedown,ctrl+d", "page down", "One page down", bar=False, palette=False),
            Action("edge(-1)", "home,g", "first", "The newest run", bar=False, palette=False),
            Action("edge(1)", "end,G", "last", "The oldest run", bar=False, palette=False),
        ),
        "export": (
            Action("build", "enter,f5,ctrl+s", "build", "Write the exports and verify each", priority=True),
            Action("finish", "enter", "close", "Close: what was asked for is there", priority=True),
            Action("copy_path", "y", "copy path", "Copy the path of the export"),
            Action("copy_command", "f6", "copy", "Copy the equal command line", priority=True),
            Action("give_up", "escape", "give up", "Give the build up; what is complete stays"),
            Action("back", "escape", "close", "Close"),
            Action("advanced", "f7", "more", "Ask how an ONNX file is entered and left, or fold that away", priority=True),
        ),
        "dialog": (Action("back", "escape", "close", "Close"),),
    }
)


def bindings(scope: str) -> list[Binding]:
    """Return Textual's bindings for a scope."""
    return [
        Binding(
            action.keys,
            action.name,
            action.label,
            show=action.bar,
            tooltip=action.about,
            priority=action.priority,
            id=f"{PREFIX}{scope}.{action.name}",
        )
        for action in ACTIONS[scope]
    ]


# What a dialog keeps of what works everywhere, for Textual cuts it off from the application. No letters: one may type there.
_ABOVE: Final = frozenset({"ctrl+p", "f1", "f9", "ctrl+z", "ctrl+q"})


def bindings_above() -> list[Binding]:
    """Return the application's bindings for a dialog."""
    found = []
    for action in ACTIONS["app"]:
        keys = ",".join(key for key in action.keys.split(",") if key in _ABOVE)
        name = f"{PREFIX}app.{action.name}"
        found.append(Binding(keys, f"app.{action.name}", action.label, show=False, tooltip=action.about, id=name))
    return found


def action_of(binding: Binding) -> tuple[str, Action] | None:
    """Return the scope and the action that a binding was made from; None for one of Textual's own."""
    if binding.id is None or not binding.id.startswith(PREFIX):
        return None
    scope, _, name = binding.id.removeprefix(PREFIX).partition(".")
    return next(((scope, action) for action in ACTIONS[scope] if action.name == name), None)


def working_keys(action: Action, active: Container[str]) -> list[str]:
    """Return those of an action's keys that work now, given all that do: a dialog leaves letters to what is typed."""
    keys = action.keys.split(",")
    return [key for key in keys if key in active] or keys


_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "question_mark": "?",
        "slash": "/",
        "full_stop": ".",
        "escape": "esc",
        "enter": "enter",
        "pageup": "page up",
        "pagedown": "page down",
        "up": "↑",
        "down": "↓",
        "left": "←",
        "right": "→",
        "delete": "del",
    }
)


def key_name(key: str) -> str:
    """Return a key as it is written on keyboards."""
    if key in _NAMES:
        return _NAMES[key]
    return key.upper() if key[0] == "f" and key[1:].isdigit() else key
