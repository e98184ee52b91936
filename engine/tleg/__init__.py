"""tleg: a family of Vision Transformers from one learngene.

    import tleg

    learngene = tleg.load("fashion-mnist")
    model = learngene.expand(8)  # a plain timm VisionTransformer

`__all__` is the public API. Names are loaded on first use: importing tleg imports neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tleg.versions import __version__ as __version__

if TYPE_CHECKING:
    from tleg.api import (
        analyze,
        benchmark,
        build,
        build_family,
        calibrate,
        choose_cascade,
        compare_runs,
        compress,
        evaluate,
        expand,
        fit,
        load,
        predict,
        preview,
        probe,
        read_header,
        run_study,
        verify,
    )
    from tleg.errors import TlegError
    from tleg.export.onnx.imported import import_onnx
    from tleg.learngene.basis import Basis
    from tleg.learngene.cost import Budget
    from tleg.learngene.header import LearngeneHeader
    from tleg.models.architecture import describe
    from tleg.models.auxiliary import AuxiliaryModel, ElasticViT
    from tleg.models.efficientnet_lite import import_efficientnet
    from tleg.models.learngene import Learngene
    from tleg.models.official import import_official
    from tleg.references import resolve

_HOME = {
    "AuxiliaryModel": "models.auxiliary",
    "Basis": "learngene.basis",
    "Budget": "learngene.cost",
    "ElasticViT": "models.auxiliary",
    "Learngene": "models.learngene",
    "LearngeneHeader": "learngene.header",
    "TlegError": "errors",
    "analyze": "api",
    "benchmark": "api",
    "build": "api",
    "build_family": "api",
    "calibrate": "api",
    "choose_cascade": "api",
    "compare_runs": "api",
    "compress": "api",
    "describe": "models.architecture",
    "evaluate": "api",
    "expand": "api",
    "fit": "api",
    "import_efficientnet": "models.efficientnet_lite",
    "import_official": "models.official",
    "import_onnx": "export.onnx.imported",
    "load": "api",
    "predict": "api",
    "preview": "api",
    "probe": "api",
    "read_header": "api",
    "resolve": "references",
    "run_study": "api",
    "verify": "api",
}

__all__ = [
    "AuxiliaryModel",
    "Basis",
    "Budget",
    "ElasticViT",
    "Learngene",
    "LearngeneHeader",
    "TlegError",
    "analyze",
    "benchmark",
    "build",
    "build_family",
    "calibrate",
    "choose_cascade",
    "compare_runs",
    "compress",
    "describe",
    "evaluate",
    "expand",
    "fit",
    "import_efficientnet",
    "import_official",
    "import_onnx",
    "load",
    "predict",
    "preview",
    "probe",
    "read_header",
    "resolve",
    "run_study",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tleg' has no attribute '{name}'")
    return getattr(import_module(f"tleg.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
