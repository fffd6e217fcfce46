"""Madam as torch optimisers: thin shells around the rules of `madam`."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...kernels import EncodeCounts, move_codes
from ...lns.checks import NonFiniteError, require_kind
from ...lns.format import LNSFormat
from ..checks import require_positive
from ..training.convert import mapped_layers
from ..training.linear import Mapped
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

Update = Callable[[Tensor, Tensor, float, Tensor], Tensor]
Closure = Callable[[], Any]


class _FloatMadam(Optimizer):
    """What float Madam and LNS-Madam share: the loop; the rule is handed in."""

    rule: Update

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        p_scale: float,
        g_bound: float,
        beta2: float,
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


class Madam(_FloatMadam):
    """Float Madam (arXiv 2006.14560); lr is a natural-logarithm step, see `madam.madam_update`."""

    rule = staticmethod(madam_update)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        p_scale: float = 3.0,
        g_bound: float = 10.0,
        beta2: float = 0.999,
    ) -> None:
        super().__init__(params, lr, p_scale, g_bound, beta2)


class LNSMadam(_FloatMadam):
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


class IntegerMadam(Optimizer):
    """Integer Madam on the stored exponents of a converted model.

    model: from `convert` with a recipe whose optimiser is "integer-madam". lr_factor: lattice
    steps per unit of u (None: an effective learning rate of 0.01). The codes move in place; the
    only float state of a weight's shape is its second moment. What the model keeps as float
    Parameters (norm gains and the like) takes float Madam with `lr` on the vector unit.
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
        layers = [layer for layer in mapped_layers(model) if layer.coded]
        if not layers:
            raise ValueError("model must be converted with optimiser integer-madam, got none such")
        self._owners: dict[int, tuple[Mapped, str]] = {}
        codes: list[Tensor] = []
        for layer in layers:
            for name in sorted(layer.trained):
                code = getattr(layer, f"{name}_code")
                codes.append(code)
                self._owners[id(code)] = (layer, name)
        if not codes:
            raise ValueError("model must have a layer whose weights need gradients, got none such")
        fmt: LNSFormat = layers[0].update_format
        lr = require_positive("lr", lr)
        if lr_factor is None:
            lr_factor = lr * fmt.gamma / math.log(2)
        lr_factor = require_positive("lr_factor", lr_factor)
        p_scale = layers[0].recipe.p_scale
        shared = checked_options({"g_bound": g_bound, "beta2": beta2, "p_scale": p_scale})
        self._exponent_bits = fmt.exponent_bits
        groups: list[dict[str, Any]] = [{"params": codes, "lr": lr_factor, **shared}]
        floats = [p for p in model.parameters() if p.requires_grad]
        if floats:
            groups.append({"params": floats, "lr": lr, **shared})
        super().__init__(groups, {})

    @property
    def lr_factor(self) -> float:
        """Lattice steps per unit of u; lowering it is the learning-rate decay."""
        return float(self.param_groups[0]["lr"])

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        """Move every code whose layer has delivered a gradient, and the float Parameters.

        Returns the closure's loss, if there is one. Raises NonFiniteError for a gradient that is
        not finite: an exponent has no NaN to show it with.
        """
        loss = _evaluate(closure)
        group = self.param_groups[0]
        for code in group["params"]:
            layer, name = self._owners[id(code)]
            gradient = layer.gradients.get(name)
            if gradient is not None:
                self._move(code, gradient, group)
        for group in self.param_groups[1:]:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.copy_(_float_step(weight, self.state[weight], group, madam_update))
        self._count()
        return loss

    def _move(self, code: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """`madam.integer_madam_update` of one tensor, in one pass (same bits)."""
        state = _started(self.state[code], gradient)
        layer, name = self._owners[id(code)]
        counts = move_codes(
            code.numpy(),
            np.ascontiguousarray(gradient.numpy()),
            state["v"].numpy(),
            state["step"] + 1,
            group["lr"],
            self._exponent_bits,
            group["beta2"],
            group["g_bound"],
        )
        if counts is None:
            raise NonFiniteError(
                f"gradient of {layer.layer_name}.{name} must be finite, got a NaN or infinity"
            )
        undefined, above, below = counts
        state["step"] += 1
        state["undefined"] += undefined
        clamped = EncodeCounts(code.numel(), above, below)
        layer.tally.add_counts(layer.layer_name, "update", clamped)

    def _count(self) -> None:
        """Add the events of this step: codes by the integer rule, float Parameters by Madam's."""
        layer, _ = next(iter(self._owners.values()))
        floats = [w for group in self.param_groups[1:] for w in group["params"]]
        moved = sum(w.numel() for w in floats if w.grad is not None)
        layer.tally.add_update("integer-madam", self.delivered(), layer.update_format)
        layer.tally.add_update("madam", moved, None)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a copy of a state: a step changes its tensors in place."""
        super().load_state_dict(copy.deepcopy(state_dict))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, the delivered ones too."""
        super().zero_grad(set_to_none)
        for layer, _ in self._owners.values():
            layer.gradients.clear()

    def delivered(self) -> int:
        """Elements of the codes that have a gradient now."""
        return sum(
            layer.gradients[name].numel()
            for layer, name in self._owners.values()
            if name in layer.gradients
        )
