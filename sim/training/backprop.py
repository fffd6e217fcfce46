"""One step of training by back-propagation: what `Rule.step` names where a rule has no own."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

Loss = Callable[[Any, Tensor], Tensor]


def step(
    model: nn.Module, optimiser: Optimizer, inputs: Tensor, targets: Tensor, loss: Loss
) -> float:
    """Forward, backward and update on one batch; return its loss.

    loss: from the model's output and `targets` to a scalar. A loss that is not finite is returned
    and moves nothing. The optimiser adds its own events.
    """
    optimiser.zero_grad()
    scalar = loss(model(inputs), targets)
    value = float(scalar.item())
    if math.isfinite(value):
        scalar.backward()
        optimiser.step()
    return value
