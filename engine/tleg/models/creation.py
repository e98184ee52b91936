"""Models made by timm: as it makes them, and with other depths where timm's functions fix those.

`timm.create_model("caformer_s18", depths=[3, 3, 9, 3])` is a TypeError: the function of that name states the depths, and
takes none. The class of the model does take them. So timm's function is asked for what it would build, and the arguments are
replaced on their way to timm's builder, which does all else as ever.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from threading import RLock
from typing import Any, Final

import timm

from tleg.errors import ArchitectureError
from tleg.learngene.families import family_covering, fetches_backbone

# What the functions of timm's names end in; each of timm's modules has it under this name.
_BUILDER: Final = "build_model_with_cfg"
# One at a time stands in for it.
_LOCK: Final = RLock()


def create_model(name: str, **arguments: Any) -> Any:
    """Return `timm.create_model(name, **arguments)`, which of a family whose depths timm fixes takes all of its arguments.

    Raises what timm raises, and ArchitectureError when this timm builds such a model in another way.
    """
    if fetches_backbone(name) and arguments.get("pretrained"):
        model: Any = timm.create_model(name, **{**arguments, "pretrained": False})
        timm.models.load_pretrained(model, num_classes=model.num_classes, in_chans=arguments.get("in_chans") or 3)
        return model
    if not family_covering(name.partition(".")[0]).timm_fixes_depths:
        return timm.create_model(name, **arguments)
    # Not of the model, but of how it is made: weights, and where they are.
    options = arguments.keys() & inspect.signature(timm.create_model).parameters.keys()
    # As timm does, which takes None for what nobody said.
    given = {key: value for key, value in arguments.items() if key not in options and value is not None}
    with _building_with(name, given):
        model = timm.create_model(name, **{key: arguments[key] for key in options})
    # What timm.models.save_for_hf writes into a folder.
    model._model_args = {**getattr(model, "_model_args", {}), **given}
    return model


@contextmanager
def _building_with(name: str, given: Mapping[str, Any]) -> Iterator[None]:
    """Within it timm's function of a name builds with these arguments, whatever it states itself."""
    module: Any = sys.modules[timm.model_entrypoint(name.partition(".")[0]).__module__]
    with _LOCK:
        build = getattr(module, _BUILDER, None)
        if build is None:
            raise ArchitectureError(f"this timm ({timm.__version__}) builds '{name}' in a way that takes no other depths")

        def build_with(*stated: Any, **named: Any) -> Any:
            # Some functions hand over one object that says the architecture.
            whole: Any = named.get("model_cfg")
            within = {field.name for field in fields(whole)} if is_dataclass(whole) else set()
            if changed := {key: value for key, value in given.items() if key in within}:
                named["model_cfg"] = replace(whole, **changed)
            return build(*stated, **{**named, **{key: value for key, value in given.items() if key not in within}})

        setattr(module, _BUILDER, build_with)
        try:
            yield
        finally:
            setattr(module, _BUILDER, build)
