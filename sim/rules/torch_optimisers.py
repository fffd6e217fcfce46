"""SGD and AdamW: torch's own, over what a converted model keeps as float Parameters."""

import torch
from torch import nn
from torch.optim import Optimizer


def sgd(model: nn.Module, _: object, lr: float) -> Optimizer:
    """Return SGD with momentum 0.9."""
    return torch.optim.SGD(_trained(model), lr, momentum=0.9)


def adamw(model: nn.Module, _: object, lr: float) -> Optimizer:
    """Return AdamW with torch's betas and weight decay."""
    return torch.optim.AdamW(_trained(model), lr)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]
