"""How close an auxiliary model's features are to its teacher's at every depth that is shown, once it is trained."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tleg.data.datasets import Data
from tleg.data.transforms import Normaliser
from tleg.learngene.feature_cosine import FeatureCosine
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth
from tleg.models.auxiliary import AuxiliaryModel
from tleg.training.accuracy import CosineTally, Predictor, evaluate, require_finite
from tleg.training.device import Placement
from tleg.training.distributed import SINGLE, World
from tleg.training.teacher import LastFeatures, Teacher


def measure_cosines(
    model: AuxiliaryModel,
    projection: nn.Module | None,
    teacher: Teacher,
    header: LearngeneHeader,
    data: Data,
    placement: Placement,
    depths: Sequence[Depth],
    *,
    workers: int = 0,
    world: World = SINGLE,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureCosine:
    """Return the mean cosine with a teacher's features on the validation images at these depths, computed in float32.

    projection  from the model's features to the teacher's; None where they are compared as they are

    Raises TlegError for features that are not finite.
    """
    normalise, seen = Normaliser(header.preprocessing).to(placement.device), LastFeatures()

    def at(depth: Depth) -> Predictor:
        coefficients, profile = model.coefficients(depth), model.profile(depth)

        def cosine(pixels: Tensor) -> Tensor:
            features = model.forward_pooled(normalise(pixels), coefficients, profile)
            mine = features if projection is None else projection(features)
            return F.cosine_similarity(mine.float(), seen.of(teacher, pixels), dim=1)[:, None]

        return cosine

    scores = evaluate(
        {depth: at(depth) for depth in dict.fromkeys(map(header.as_trained, depths))},
        data.validation,
        placement.in_float32(),
        input_size=header.architecture.input_size,
        preprocessing=header.preprocessing,
        workers=workers,
        world=world,
        progress=progress,
        tally=CosineTally,
    )
    require_finite(scores, "the learngene")
    cosines = {depth: score.cosine for depth, score in scores.items() if score.cosine is not None}
    images = next(iter(scores.values())).images
    return FeatureCosine.of(teacher.report.name, f"{data.name} {data.part}", images, header.image_size, cosines)
