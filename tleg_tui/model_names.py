"""timm's names, which only a process with timm can tell: asked once, by `tleg models`."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from tleg_tui.child import run_tleg

# A beginning, until timm itself has been asked.
FIRST: Final = ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224", "deit_tiny_patch16_224")


@dataclass(slots=True)
class ModelNames:
    """Names of timm's models; `known` once timm was asked. Before that nothing can be said about a name."""

    known: bool = False
    names: tuple[str, ...] = ()
    expandable: Collection[str] = field(default_factory=frozenset)

    async def ask(self) -> bool:
        """Ask timm, in a process of its own; True when something new is known."""
        if self.known:
            return False
        document = (await run_tleg(["models", "--json"])).document
        if not isinstance(document, list):
            return False
        rows = [each for each in document if isinstance(each, dict)]
        self.names = tuple(str(each.get("name")) for each in rows)
        self.expandable = tuple(str(each.get("name")) for each in rows if each.get("expandable") is True)
        self.known = bool(self.names)
        return self.known


# Of this process: every form that opens later knows them at once.
TIMM: Final = ModelNames()
