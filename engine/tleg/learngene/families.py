"""The families of architectures that are known, by the names of timm's models.

What is known of them without timm is in `structure`, `single_stage` and `staged`, beside this file; and
`tleg.models.timm_family` says how timm builds them. Standard library only.
"""

import re
from typing import Final

from tleg.errors import ArchitectureError
from tleg.learngene.architecture import Architecture
from tleg.learngene.single_stage import SINGLE_STAGE
from tleg.learngene.staged import STAGED
from tleg.learngene.structure import PLAIN_VIT, Family

_FAMILIES: Final[dict[str, Family]] = {}
# timm's functions of these names give `pretrained` to the backbone as well, whose weights are on the hub alone.
_FETCHES_BACKBONE: Final = re.compile(r"vit_(small|base)_resnet(26|50)d(_s16)?_224")


def register(family: Family) -> None:
    """Make a family known, or put the same family with more that is known of it in its place.

    Raises ArchitectureError when another family has the name.
    """
    known = _FAMILIES.get(family.name)
    if known is not None and not isinstance(family, type(known)):
        raise ArchitectureError(f"there is a family '{family.name}' already")
    _FAMILIES[family.name] = family


def unregister(name: str) -> None:
    """Forget a family. Raises ArchitectureError when there is none of that name."""
    if name not in _FAMILIES:
        raise ArchitectureError(f"there is no family '{name}'")
    del _FAMILIES[name]


def families() -> tuple[Family, ...]:
    """All families, in the order in which they were registered."""
    return tuple(_FAMILIES.values())


def family_covering(timm_name: str) -> Family:
    """Return the family of a timm model, by its name. Raises ArchitectureError when no family covers it."""
    for family in reversed(_FAMILIES.values()):
        if family.covers(timm_name):
            return family
    raise ArchitectureError(f"no family of architectures covers '{timm_name}'")


def fetches_backbone(timm_name: str) -> bool:
    """Whether timm fetches weights for a part of a model before it loads those that it is given."""
    return _FETCHES_BACKBONE.fullmatch(timm_name.partition(".")[0]) is not None


def family_of(architecture: Architecture) -> Family:
    """Return the family of an architecture. Raises ArchitectureError."""
    return family_covering(architecture.name)


for _family in (PLAIN_VIT, *SINGLE_STAGE, *STAGED):
    register(_family)
