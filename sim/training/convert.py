"""`convert`: a user's network, with its weights, onto a recipe's datapath."""

import copy
import logging
from collections.abc import Iterator
from importlib import import_module

import torch
from torch import nn

from ...lns.checks import require_bool, require_kind
from ..recipes.recipe import Recipe
from .mapped import Mapped
from .tally import Tally

logger = logging.getLogger("lnsim")
ZERO_START_STD = 0.01  # of an all-zero tensor under zero_start "normal": the cGAN recipe of Madam

# torch's layer -> the mapped one, as module:class, imported on use. Exactly these
# types are mapped; a subclass computes what its own author wrote.
LAYERS: dict[type[nn.Module], str] = {
    nn.Linear: ".linear:Linear",
    nn.Conv2d: ".conv:Conv2d",
}
# Work of the vector unit by nature: nothing to map, nothing to report.
_VECTOR = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
    nn.LocalResponseNorm,
)
# Matrix work without parameters of its own kind, or with parameters used behind its back.
_OPAQUE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Transformer)


def convert(
    model: nn.Module, recipe: Recipe, strict: bool = False, backend: str = "cpu"
) -> nn.Module:
    """Return a copy of `model` whose Linear and Conv2d layers run on `recipe`'s datapath.

    backend: who computes, by name (`kernels.BACKENDS`): "cpu", or "oracle", plain integers, slow.

    The original is untouched; weights are kept bit for bit (under a rule that moves codes: as codes
    of the update format), shared layers stay shared however the model refers to them, tied
    Parameters stay tied. Exactly `nn.Linear` and `nn.Conv2d` with zero padding are mapped; norms,
    activations and pooling belong to the vector unit; any other layer with parameters stays there
    too, with one line on the logger "lnsim", or, if `strict`, a ValueError naming them all. The
    result has the attributes `tally` (Tally) and `frozen_tensors` (names of all-zero tensors that
    Madam cannot move).
    Products that a model computes outside its layers (`torch.matmul`, attention functions) are not
    seen. Raises TypeError for tensors that are not float32; ValueError for a model that is
    converted already or has a `tally` or `frozen_tensors` of its own, for an all-zero weight under
    integer Madam and for tied weights, whose codes would part ways.
    """
    _check_model(model)
    require_kind("recipe", recipe, Recipe)
    require_bool("strict", strict)
    root = copy.deepcopy(model)
    tally = Tally(recipe.rule.phases)
    unmapped = list(_unmapped(root))
    if strict and unmapped:
        raise ValueError(f"model must hold only layers that map, got {', '.join(unmapped)}")
    for line in unmapped:
        logger.warning("layer %s stays on the vector unit", line)
    _refuse_ties(root, recipe)
    frozen = _start_zeros(root, recipe)
    _map(root, recipe, tally, backend)
    root.tally = tally  # type: ignore[assignment]
    root.frozen_tensors = frozen  # type: ignore[assignment]
    return root


def _check_model(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if isinstance(module, Mapped):
            raise ValueError(f"model must not be converted already, got {name or 'root'}")
    for name in ("tally", "frozen_tensors"):
        if hasattr(model, name):
            raise ValueError(f"model must leave the attribute {name!r} to convert, got its own")


def _mapped_class(module: nn.Module) -> type[Mapped] | None:
    """The class that `module` becomes, None where it stays as it is."""
    place = LAYERS.get(type(module))
    if place is None:
        return None
    home, _, name = place.partition(":")
    found: type[Mapped] = getattr(import_module(home, __package__), name)
    return found if found.maps(module) else None


def _walk(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, module), parents first; not into layers that read their children's weights."""
    yield name, module
    if isinstance(module, _OPAQUE):
        return
    for child_name, child in module.named_children():
        yield from _walk(child, f"{name}.{child_name}" if name else child_name)


def _unmapped(root: nn.Module) -> Iterator[str]:
    """Describe the layers that hold parameters, or do matrix work, and have no place on the array.

    A container is judged by its children; its own stray Parameters are named.
    """
    seen: set[int] = set()
    for name, module in _walk(root):
        if id(module) in seen or _mapped_class(module) or isinstance(module, (*_VECTOR, Mapped)):
            continue
        seen.add(id(module))
        own = any(True for _ in module.parameters(recurse=False))
        if own or isinstance(module, (*_OPAQUE, nn.Bilinear)):
            yield f"{name or '(root)'} ({type(module).__name__})"


def _map(root: nn.Module, recipe: Recipe, tally: Tally, backend: str) -> None:
    """Turn mappable layers into mapped ones where they stand.

    The object stays the same and only its class changes, so that hooks, flags and every reference
    to it (a second name, a plain list of layers) stay valid.
    """
    for name, module in list(_walk(root)):
        if isinstance(module, nn.TransformerEncoderLayer):
            # Its fused inference path reads the weights of linear1 and linear2 past their forward;
            # torch itself leaves that path where this attribute is 0.
            module.activation_relu_or_gelu = 0
        found = _mapped_class(module)
        if found is not None:
            module.__class__ = found
            assert isinstance(module, Mapped)
            module.attach(recipe, tally, name or "root", backend)


def mapped_layers(root: nn.Module) -> list[Mapped]:
    """The mapped layers of a converted model, each once, in the order of `modules()`."""
    return [module for module in root.modules() if isinstance(module, Mapped)]


def _refuse_ties(root: nn.Module, recipe: Recipe) -> None:
    """A Parameter of a layer that will be coded must belong to that layer alone."""
    if recipe.rule.stores != "code":
        return
    users: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in root.named_modules():
        for own, parameter in module.named_parameters(recurse=False):
            full = f"{name}.{own}" if name else own
            users.setdefault(id(parameter), []).append((full, module))
    for sharing in users.values():
        if len(sharing) > 1 and any(_mapped_class(module) for _, module in sharing):
            names = " and ".join(name for name, _ in sharing)
            raise ValueError(f"weights must not be tied under {recipe.optimiser}, got {names}")


def _start_zeros(root: nn.Module, recipe: Recipe) -> tuple[str, ...]:
    """Treat the all-zero Parameters a multiplicative update cannot move; return the frozen ones."""
    if not recipe.rule.multiplicative:
        return ()
    zeros = [
        (name, p)
        for name, p in root.named_parameters()
        if p.requires_grad and not bool(p.detach().any())
    ]
    if recipe.zero_start == "normal":
        with torch.no_grad():
            for _, parameter in zeros:
                parameter.normal_(0.0, ZERO_START_STD)
        return ()
    for name, _ in zeros:
        logger.warning("tensor %s is all zero and stays zero under %s", name, recipe.optimiser)
    return tuple(name for name, _ in zeros)
