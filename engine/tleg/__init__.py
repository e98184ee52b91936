"""tleg: a family of Vision Transformers from one learngene.

    import tleg

    learngene = tleg.load("fashion-mnist")
    model = learngene.expand(8)  # a plain timm VisionTransformer

Names are loaded on first use: importing tleg imports neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tleg.versions import __version__ as __version__

if TYPE_CHECKING:
    from tleg.errors import TlegError
    from tleg.learngene.basis import Basis
    from tleg.learngene.container import read_header
    from tleg.learngene.header import LearngeneHeader
    from tleg.models.architecture import describe
    from tleg.models.auxiliary import AuxiliaryModel, ElasticViT
    from tleg.models.learngene import Learngene, load
    from tleg.models.official import import_official

_HOME = {
    "AuxiliaryModel": "models.auxiliary",
    "Basis": "learngene.basis",
    "ElasticViT": "models.auxiliary",
    "Learngene": "models.learngene",
    "LearngeneHeader": "learngene.header",
    "TlegError": "errors",
    "describe": "models.architecture",
    "import_official": "models.official",
    "load": "models.learngene",
    "read_header": "learngene.container",
}

__all__ = [
    "AuxiliaryModel",
    "Basis",
    "ElasticViT",
    "Learngene",
    "LearngeneHeader",
    "TlegError",
    "describe",
    "import_official",
    "load",
    "read_header",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tleg' has no attribute '{name}'")
    return getattr(import_module(f"tleg.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
