"""Completes names as they are typed; → takes the rest."""

from collections.abc import Callable, Iterable

from textual.suggester import Suggester


class NameSuggester(Suggester):
    """Suggests the first of the names that begins with what was typed. The names are asked for anew each time."""

    def __init__(self, names: Callable[[str], Iterable[str]], field: str = "") -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._names = names
        self._field = field

    def for_field(self, name: str) -> "NameSuggester":
        """The same for one field."""
        return NameSuggester(self._names, name)

    async def get_suggestion(self, value: str) -> str | None:
        """The name, or None."""
        return next((name for name in self._names(self._field) if name.startswith(value) and name != value), None)
