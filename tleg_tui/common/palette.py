"""The command palette: what can be done now, and nothing else."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider

from tleg_tui.actions import action_of, key_name, working_keys
from tleg_tui.common.screens import Leaving


class Palette(Leaving, CommandPalette):
    """Textual's, whose list fails when it is moved by a page before its first line was laid out."""

    def waits_for(self, key: str) -> bool:
        """Enter and the arrows are meant for the list of what was typed; letters go on."""
        group = self._GATHER_COMMANDS_GROUP
        return len(key) > 1 and any(
            each.group == group and each.node is self and not each.is_finished for each in self.workers
        )

    def _action_command_list(self, action: str) -> None:
        with suppress(KeyError):
            super()._action_command_list(action)


class ActionsProvider(Provider):
    """Offers the actions of the screen below that are possible at the moment, and the themes."""

    async def discover(self) -> Hits:
        """All of them."""
        for title, about, run in self._offers():
            yield DiscoveryHit(title, run, help=about)

    async def search(self, query: str) -> Hits:
        """Those that a text matches."""
        matcher = self.matcher(query)
        for title, about, run in self._offers():
            score = matcher.match(f"{title} {about}")
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=about)

    def _offers(self) -> Iterator[tuple[str, str, partial[Any]]]:
        seen: set[str] = set()
        active = self.screen.active_bindings
        for owner, binding, enabled, _ in active.values():
            known = action_of(binding)
            if known is None or not enabled or binding.id in seen or not known[1].palette:
                continue
            seen.add(str(binding.id))
            action = known[1]
            title = f"{action.label}  ({key_name(working_keys(action, active)[0])})"
            yield title, action.about, partial(self.app.run_action, binding.action, owner)
        for name in sorted(self.app.available_themes):
            if name != self.app.theme:
                yield f"theme: {name}", "Colours", partial(self._choose, name)

    def _choose(self, name: str) -> None:
        self.app.theme = name
