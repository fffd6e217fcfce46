"""Madam as torch optimisers: thin shells around the rules of `madam`.

`madam`, `lns_madam` and `integer_madam` are what `Rule.make` names: an optimiser over a converted
model, whose layers may have recipes of their own.
"""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...kernels import EncodeCounts
from ...lns.checks import NonFiniteError, require_kind
from ...lns.format import LNSFormat
from ..checks import require_positive
from .coded import CodedTensor, CodeHolder, Settings, trained_codes
from .madam import (
    lns_madam_update,
    madam_direction,
    madam_update,
    rms,
)
from .madam import (
    undefined_directions as count_undefined,
)
from .params import checked_options, checked_params
from .rule import RULES

Update = Callable[[Tensor, Tensor, float, Tensor], Tensor]
Closure = Callable[[], Any]


class Madam(Optimizer):
    """Float Madam (arXiv 2006.14560); lr is a natural-logarithm step, see `madam.madam_update`."""

    rule: Update = staticmethod(madam_update)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        p_scale: float = 3.0,
        g_bound: float = 10.0,
        beta2: float = 0.999,
    ) -> None:
        given = {"lr": lr, "p_scale": p_scale, "g_bound": g_bound, "beta2": beta2}
        super().__init__(checked_params(params), checked_options(given))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As torch's; a group's own options are checked as the common ones."""
        super().add_param_group({**param_group, **checked_options(param_group)})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Move every weight that has a gradient; returns the closure's loss, if there is one."""
        loss = _evaluate(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.copy_(_float_step(weight, self.state[weight], group, type(self).rule))
        return loss


def _evaluate(closure: Closure | None) -> Any:
    """Call torch's optional closure, which recomputes the loss and its gradients."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def _started(state: dict[str, Any], gradient: Tensor) -> dict[str, Any]:
    """The state of a tensor, made at its first gradient."""
    if "v" not in state:
        zeros = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        state.update(step=0, v=zeros, undefined=0)
    return state


def _advance(gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Return u; moves the step count, the second moment and the count of 0/0 in `state`."""
    _started(state, gradient)
    state["step"] += 1
    u, state["v"] = madam_direction(
        gradient, state["v"], state["step"], group["beta2"], group["g_bound"]
    )
    state["undefined"] += count_undefined(gradient, state["v"])
    return u


def _float_step(weight: Tensor, state: dict[str, Any], group: dict[str, Any], rule: Update) -> Any:
    """One step of a float weight; returns its new value and advances its state."""
    if not state:
        state["w_max"] = group["p_scale"] * rms(weight)
    gradient = weight.grad
    assert gradient is not None
    u = _advance(gradient, state, group)
    return rule(weight, u, group["lr"], state["w_max"])


class LNSMadam(Madam):
    """LNS-Madam's rule (arXiv 2106.13914); lr is in octaves per rounded unit of u.

    The published rule leaves storing to a quantiser: `make_optimiser` adds it after each step.
    """

    rule = staticmethod(lns_madam_update)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0 / 128.0,
        p_scale: float = 3.0,
        g_bound: float = 10.0,
        beta2: float = 0.999,
    ) -> None:
        super().__init__(params, lr, p_scale, g_bound, beta2)


def _float_groups(model: nn.Module, recipe: Settings, lr: float) -> list[dict[str, Any]]:
    """The trained float Parameters by p_scale: their layer's recipe's, else that of `recipe`."""
    scales = {
        id(parameter): module.recipe.p_scale
        for module in model.modules()
        if isinstance(module, CodeHolder)
        for parameter in module.parameters(recurse=False)
    }
    groups: dict[float, list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            scale = scales.get(id(parameter), recipe.p_scale)
            groups.setdefault(scale, []).append(parameter)
    return [{"params": own, "lr": lr, "p_scale": scale} for scale, own in groups.items()]


def madam(model: nn.Module, recipe: Settings, lr: float) -> Optimizer:
    """Return Madam over the float Parameters of a converted model."""
    return Madam(_float_groups(model, recipe, lr), lr)


def lns_madam(model: nn.Module, recipe: Settings, lr: float) -> Optimizer:
    """Return LNSMadam over the float Parameters of a converted model."""
    return LNSMadam(_float_groups(model, recipe, lr), lr)


def integer_madam(model: nn.Module, _: Settings, lr: float) -> Optimizer:
    """Return IntegerMadam over the codes and the float Parameters of a converted model."""
    return IntegerMadam(model, lr=lr)


class IntegerMadam(Optimizer):
    """Integer Madam on the stored exponents of a converted model.

    model: from `convert` with a recipe whose optimiser is "integer-madam", or of layers that were
    each given one. lr_factor: lattice steps per unit of u, of each tensor's own format, whatever
    its gamma; None: those of an effective learning rate `lr`, lr * gamma / ln 2 of its own gamma.
    The codes move in place, each tensor's within its own format's range; a parameter group for each
    format, in the order the model has them. The only float state of a weight's shape is its second
    moment. What the model keeps as float Parameters (norm gains and the like) takes float Madam
    with `lr` on the vector unit.
    """

    def __init__(
        self,
        model: nn.Module,
        lr_factor: float | None = None,
        g_bound: float = 10.0,
        beta2: float = 0.999,
        lr: float = 0.01,
    ) -> None:
        require_kind("model", model, nn.Module)
        holders = [m for m in model.modules() if isinstance(m, CodeHolder) and m.codes]
        if not holders:
            raise ValueError("model must be converted with optimiser integer-madam, got none such")
        self.coded = trained_codes(model)
        if not self.coded:
            raise ValueError("model must have a layer whose weights need gradients, got none such")
        lr = require_positive("lr", lr)
        shared = checked_options({"g_bound": g_bound, "beta2": beta2})
        self._by_code = {id(tensor.code): tensor for tensor in self.coded}
        by_format: dict[LNSFormat, list[CodedTensor]] = {}
        for tensor in self.coded:
            by_format.setdefault(tensor.fmt, []).append(tensor)
        groups: list[dict[str, Any]] = []
        for fmt, tensors in by_format.items():
            own = lr * fmt.gamma / math.log(2) if lr_factor is None else lr_factor
            steps = require_positive("lr_factor", own)
            codes, scale = [tensor.code for tensor in tensors], tensors[0].holder.recipe.p_scale
            groups.append({"params": codes, "lr": steps, "p_scale": scale})
        groups += _float_groups(model, holders[0].recipe, lr)
        super().__init__([group | shared for group in groups], {})

    @property
    def lr_factor(self) -> float:
        """Lattice steps per unit of u, of the first format; lowering it is the decay."""
        return float(self.param_groups[0]["lr"])

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Move every code whose layer has delivered a gradient, and the float Parameters.

        Returns the closure's loss, if there is one. Raises NonFiniteError for a gradient that is
        not finite: an exponent has no NaN to show it with.
        """
        loss = _evaluate(closure)
        moved = [tensor for tensor in self.coded if tensor.gradient is not None]
        floats: list[Tensor] = []
        for group in self.param_groups:
            for weight in group["params"]:
                tensor = self._by_code.get(id(weight))
                if tensor is not None and tensor.gradient is not None:
                    self._move(tensor, tensor.gradient, self.state[weight], group)
                elif weight.grad is not None:
                    weight.copy_(_float_step(weight, self.state[weight], group, madam_update))
                    floats.append(weight)
        self._count(moved, floats)
        return loss

    def _move(
        self, tensor: CodedTensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        """`madam.integer_madam_update` of one tensor, in one pass (same bits)."""
        _started(state, gradient)
        backend = tensor.holder.backend
        counts = backend.move(
            backend.asarray(tensor.code),
            backend.asarray(gradient.contiguous()),
            backend.asarray(state["v"]),
            state["step"] + 1,
            group["lr"],
            tensor.fmt.exponent_bits,
            group["beta2"],
            group["g_bound"],
        )
        if counts is None:
            raise NonFiniteError(f"gradient of {tensor.name} must be finite, got a NaN or infinity")
        undefined, above, below = counts
        state["step"] += 1
        state["undefined"] += undefined
        tensor.clamped(EncodeCounts(gradient.numel(), above, below))

    def _count(self, moved: list[CodedTensor], floats: list[Tensor]) -> None:
        """Add the events of this step: codes by the integer rule, format by format, float
        Parameters by Madam's."""
        rule = RULES["integer-madam"]
        own: dict[tuple[int, LNSFormat], list[CodedTensor]] = {}
        for tensor in moved:
            own.setdefault((id(tensor.tally), tensor.fmt), []).append(tensor)
        for (_, fmt), tensors in own.items():
            elements = sum(tensor.code.numel() for tensor in tensors)
            tensors[0].tally.add_update(rule.name, elements, fmt, len(tensors))
        elements = sum(weight.numel() for weight in floats)
        self.coded[0].tally.add_update(rule.beside, elements, None, len(floats))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state: a step changes its tensors in place."""
        super().load_state_dict(copy.deepcopy(state_dict))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, the delivered ones too."""
        super().zero_grad(set_to_none)
        for tensor in self.coded:
            tensor.gradient = None
