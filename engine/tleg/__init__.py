"""tleg: a family of Vision Transformers from one learngene.

    import tleg

    learngene = tleg.load("fashion-mnist")
    model = learngene.expand(8)  # a plain timm VisionTransformer

Names are loaded on first use: importing tleg imports neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tleg.architecture import describe
    from tleg.auxiliary import AuxiliaryModel, ElasticViT
    from tleg.basis import Basis
    from tleg.container import read_header
    from tleg.errors import TlegError
    from tleg.header import LearngeneHeader
    from tleg.learngene import Learngene, load
    from tleg.official import import_official

__version__ = "0.1.0"

_HOME = {
    "AuxiliaryModel": "auxiliary",
    "Basis": "basis",
    "ElasticViT": "auxiliary",
    "Learngene": "learngene",
    "LearngeneHeader": "header",
    "TlegError": "errors",
    "describe": "architecture",
    "import_official": "official",
    "load": "learngene",
    "read_header": "container",
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
