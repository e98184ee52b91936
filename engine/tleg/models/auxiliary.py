"""The auxiliary model: a model whose blocks are made from a learngene's terms at every step.

The coefficients are an argument of forward, never state of the module: one set of terms serves any depth from one step to
the next, and recomputing a block (gradient checkpointing) gives the same weights.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Self, cast

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.expansion import Array, Expandable
from tleg.learngene.profile import Depth, Profile, checked
from tleg.learngene.running_statistics import is_statistic
from tleg.models.architecture import build, timm_family_of
from tleg.models.block_code import BlockCode
from tleg.models.initial import draw_matrices
from tleg.models.other_size import OtherSize
from tleg.models.running_terms import RunningTerms
from tleg.text import format_image_size


class ExpandTerms(torch.autograd.Function):
    """weights[l] = sum_k coefficients[l, k] * terms[k], rounded as `tleg.learngene.expansion` rounds.

    The forward pass adds term by term, so that a model made from terms equals the expanded descendant to the bit; the
    backward pass is one matrix product, coefficients^T @ gradient.
    """

    @staticmethod
    def forward(ctx: Any, terms: Tensor, coefficients: Tensor, plain_first: bool) -> Tensor:
        """terms (K, *parameter), coefficients (L, K) -> weights (L, *parameter).

        plain_first  whether the first column of the coefficients is all ones: then nothing is multiplied by it
        """
        ctx.save_for_backward(coefficients)
        factors = coefficients.to(terms.dtype).view(*coefficients.shape, *[1] * (terms.dim() - 1))
        if plain_first and terms.shape[0] > 1:
            # The sum of the first two terms has the same bits in either order, and this one needs no third array.
            weights = terms[1] * factors[:, 1]
            weights += terms[0]
        else:
            weights = terms[0] * factors[:, 0]
        for k in range(2 if plain_first else 1, terms.shape[0]):
            weights += terms[k] * factors[:, k]
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """gradient (L, *parameter) -> gradient of the terms (K, *parameter)."""
        (coefficients,) = ctx.saved_tensors
        (gradient,) = gradients
        return torch.tensordot(coefficients.to(gradient.dtype), gradient, dims=([0], [0])), None, None


class AuxiliaryModel(nn.Module):
    """A model of any depth over one set of terms (TLEG section 3.2).

    vit    timm's model without blocks: stem, final norm and head
    terms  stacks of terms by parameter name inside a block, with '.' as '/': shape (K, *parameter) or (1, *parameter);
           in a family of several stages the name tells the stage as well

    running  of each stage the terms of running statistics, where blocks have batch norms
    code     of the blocks, with what is no parameter
    """

    def __init__(
        self, architecture: Architecture, basis: Basis, term_scale: float = 1.0, initial_matrices: str = "timm"
    ) -> None:
        """Make the model with random terms.

        initial_matrices  how the matrices of every term begin, before they are scaled: see `tleg.models.initial`
        term_scale  factor of the initial matrices of every term but the first. Layers that begin alike learn slowly: what
                    tells them apart, beside what they share, is this large
        """
        super().__init__()
        self.architecture = architecture
        self.basis = basis
        self.family = timm_family_of(architecture)
        # Whether blocks are computed a second time in the backward pass, which keeps fewer activations.
        self.gradient_checkpointing = False
        self._plain_first = basis.starts_with_one
        # Every term starts with matrices of a block of its own. Vectors (biases, norms) are such that each layer's are a
        # block's: by the paper's basis those of term 0, and zeros in the further terms, which tell the layers apart.
        stages = range(len(self.family.stages))
        vit = build(architecture, tuple(max(basis.terms, stage.period) for stage in self.family.stages))
        terms = {}
        self.running = nn.ModuleList()
        # By stage, what is called how among the terms and inside the block.
        names: list[list[tuple[str, str]]] = [[] for _ in stages]
        for stage in stages:
            modules = self.family.take_blocks(vit, stage)
            draw_matrices(modules, initial_matrices)
            self.running.append(self._running_terms(modules[0]))
            blocks = [dict(module.named_parameters()) for module in modules]
            for inner, first in blocks[0].items():
                values = [block[inner].detach().clone() for block in blocks[: basis.terms_of(self.family.part_of(inner))]]
                if len(values) > 1:
                    # Every stage of a piecewise basis is a block's, and none is what tells layers apart.
                    vector = first.dim() <= 1
                    factors = [weight if vector else 1.0 if weight else term_scale for weight in basis.one]
                    values = [value * factor for value, factor in zip(values, factors, strict=True)]
                key = self._key(stage, inner)
                names[stage].append((key, inner))
                terms[key] = nn.Parameter(torch.stack(values))
        self.terms = nn.ParameterDict(terms)
        self._names = tuple(tuple(sorted(each)) for each in names)
        self.code = BlockCode(self.family, build(architecture, self.family.periods, device="meta"))
        # What images of other sizes than the architecture's need, by size.
        self._others = nn.ModuleDict()
        self.vit: VisionTransformer = vit

    @classmethod
    def from_learngene(cls, learngene: Expandable) -> Self:
        """Return the model with a learngene's values."""
        model = cls(learngene.header.architecture, learngene.header.basis)
        model.load_tensors(learngene.tensors)
        return model

    def load_tensors(self, tensors: Mapping[str, Array]) -> None:
        """Copy a learngene's tensors into the model, strictly: RuntimeError names what is missing or does not fit."""
        # What running statistics were fitted from belongs to a training and is in no learngene.
        state = {f"running.{name}": value for name, value in self.running.state_dict().items()}
        without_blocks = self._without_blocks
        for name, values in tensors.items():
            place = self.family.place(name)
            if place is not None and is_statistic(name):
                self._running(place.stage).put(place.inner, torch.from_numpy(values))
                continue
            own = self.family.timm_name(name, without_blocks) if place is None else self._key(place.stage, place.inner)
            key = f"vit.{own}" if place is None else f"terms.{own}"
            state[key] = torch.from_numpy(values)
        if missing := [name for name in self._statistics() if name not in tensors]:
            raise RuntimeError(f"'{missing[0]}' is missing")
        self.load_state_dict(state, strict=True)

    def tensors(self) -> dict[str, Array]:
        """Return a learngene's tensors: float32 arrays on the CPU, copies.

        The running statistics of a batch norm in the stem are stored once, as its parameters are.
        """
        result = {self._name(key): _array(values) for key, values in self.terms.items()}
        result |= {name: _array(values) for name, values in self._statistics().items()}
        state = set(self.vit.state_dict())
        stored_once: dict[str, Tensor] = dict(self.vit.named_parameters())
        # How many batches they were counted from is no float, and nothing depends on it.
        stored_once |= {
            name: values for name, values in self.vit.named_buffers() if name in state and values.is_floating_point()
        }
        without_blocks = self._without_blocks
        return result | {
            self.family.staged_name(name, without_blocks): _array(values) for name, values in stored_once.items()
        }

    def take_sizes(self, image_sizes: Iterable[tuple[int, int]]) -> None:
        """Make ready for images of these heights and widths, where the model of one size does not take them by itself.

        Parameters and state stay what they are. Raises ArchitectureError for a size that the architecture does not take.
        """
        for image_size in image_sizes:
            if self.family.resampled and image_size != self.architecture.input_size[1:]:
                self._others[format_image_size(image_size)] = (
                    OtherSize(self.architecture, image_size).to(self.device).train(self.training)
                )

    def _running_terms(self, block: nn.Module) -> RunningTerms:
        """Terms of the running statistics of a stage's blocks, which begin as timm's do: mean 0, variance 1."""
        sizes = {name: len(value) for name, value in block.named_buffers() if is_statistic(name)}
        terms = {name: self.basis.terms_of(self.family.part_of(name)) for name in sizes}
        # So many layers tell all terms apart.
        rows = self.basis.coefficients(2 * self.basis.terms)
        return RunningTerms(terms, sizes, torch.tensor(rows, dtype=torch.float32))

    def _statistics(self) -> dict[str, Tensor]:
        """Terms of the running statistics of all stages, by a learngene's names."""
        return {
            self.family.block_name(stage, inner): self._running(stage).terms(inner)
            for stage in range(len(self.running))
            for inner in self._running(stage).names
        }

    def _running(self, stage: int) -> RunningTerms:
        return cast(RunningTerms, self.running[stage])

    @property
    def _without_blocks(self) -> Profile:
        """The profile of `vit`, which has the blocks that are stored once and no others."""
        return (0,) * len(self.family.stages)

    def profile(self, depth: Depth) -> Profile:
        """The blocks of each stage at a depth."""
        return self.architecture.profile(depth)

    def coefficients(self, depth: Depth) -> Tensor:
        """The coefficients of a depth or a profile on the model's device, float32, shape (depth, K). Raises DepthError.

        Of several stages the rows follow one another, as many for each as `profile(depth)` says.
        """
        rows = [row for layers in self.profile(checked(depth)) for row in self.basis.coefficients(layers)]
        return torch.tensor(rows, dtype=torch.float32, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def expand(self, coefficients: Tensor, stage: int = 0) -> list[dict[str, Tensor]]:
        """Return the weights of every layer of a stage, differentiable.

        For each row of coefficients (L, K) {name inside a block: (*parameter)}.
        """
        ones = coefficients.new_ones(coefficients.shape[0], 1)
        layers: list[dict[str, Tensor]] = [{} for _ in range(coefficients.shape[0])]
        for key, inner in self._names[stage]:
            terms = self.terms[key]
            rows = ones if terms.shape[0] == 1 else coefficients
            weights: Tensor = ExpandTerms.apply(terms, rows, self._plain_first)
            for layer, value in zip(layers, weights.unbind(0), strict=True):
                layer[inner] = value
        return layers

    def forward_features(self, images: Tensor, coefficients: Tensor, profile: Profile | None = None) -> Tensor:
        """images (N, C, H, W), coefficients (L, K) -> what the head takes, for ViTs normalised tokens (N, tokens, width).

        profile  how many of the rows belong to each stage; None where there is one stage
        """
        rows = coefficients.split(profile or (len(coefficients),))
        other = self._other_size(images)
        code = self.code if other is None else other.code

        def run(stage: int, x: Any, *given: Any, **named: Any) -> Any:
            templates, buffers = code.templates[stage], code.buffers_of(stage)
            running = self._running(stage)
            statistics = running.to_measure(len(rows[stage])) if self.training else running.layers(rows[stage])
            for layer, weights in enumerate(self.expand(rows[stage], stage)):
                phase = layer % len(templates)
                own = weights if other is None else other.weights(stage, weights)
                state = {**own, **buffers[phase], **statistics[layer]}
                taken = x if isinstance(x, tuple) else (x, *given)
                if self.gradient_checkpointing and torch.is_grad_enabled():
                    x = checkpoint(functional_call, templates[phase], state, taken, named, use_reentrant=False)
                else:
                    x = functional_call(templates[phase], state, taken, named)
            if self.training:
                running.move(rows[stage], statistics)
            return x

        return self.family.features(self.vit, images, run) if other is None else other.features(self.vit, images, run)

    def forward_pooled(self, images: Tensor, coefficients: Tensor, profile: Profile | None = None) -> Tensor:
        """images (N, C, H, W), coefficients (L, K) -> what the classifier sees (N, width). See `forward_features`."""
        pooled: Tensor = self.vit.forward_head(self.forward_features(images, coefficients, profile), pre_logits=True)
        return pooled

    def forward(self, images: Tensor, coefficients: Tensor, profile: Profile | None = None) -> Tensor:
        """images (N, C, H, W), coefficients (L, K) -> logits (N, classes). For `profile` see `forward_features`."""
        logits: Tensor = self.vit.forward_head(self.forward_features(images, coefficients, profile))
        return logits

    def _other_size(self, images: Tensor) -> OtherSize | None:
        """What images of another size than the architecture's need, where `take_sizes` made it."""
        if not self._others:
            return None
        key = format_image_size((int(images.shape[2]), int(images.shape[3])))
        return cast(OtherSize, self._others[key]) if key in self._others else None

    def _key(self, stage: int, inner: str) -> str:
        """The key of a parameter among the terms: a ParameterDict takes no dots."""
        return self.family.block_name(stage, inner).removeprefix(self.family.prefix).replace(".", "/")

    def _name(self, key: str) -> str:
        """A learngene's name of what has a key among the terms."""
        return self.family.prefix + key.replace("/", ".")


class ElasticViT(AuxiliaryModel):
    """One module for every depth: `elastic(images, depth)` equals `learngene.expand(depth)(images)`."""

    def __init__(self, architecture: Architecture, basis: Basis) -> None:
        super().__init__(architecture, basis)
        self.eval()

    def forward(self, images: Tensor, depth: Tensor | Depth, profile: Profile | None = None) -> Tensor:
        """images (N, C, H, W) and a depth, or its coefficients -> logits (N, classes). Raises DepthError."""
        if isinstance(depth, Tensor):
            return super().forward(images, depth, profile)
        return super().forward(images, self.coefficients(depth), self.profile(depth))


def _array(values: Tensor) -> Array:
    return values.detach().to("cpu", torch.float32, copy=True).numpy().astype(np.float32, copy=False)
