"""`Rule`: everything one place knows of a learning rule, and the table of those that are known.

Adding one takes a file with its optimiser and an entry in RULES.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ...lns.checks import require_choice, require_int
from ..checks import require_positive
from ..workload.workload import PHASES

_SIM = __package__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Rule:
    """A learning rule: what it costs, keeps and stores, and who does it.

    `make` and `step` name a function, "module:function", that is imported on use; a module that
    begins with a dot is one of lnsim.sim.

    make: (model, recipe, lr) -> torch's Optimizer over a converted model. One of a rule that stores
    codes has the attribute `coded`, the CodedTensors it moves, and counts the events of its own
    steps; the others' are counted for them.
    step: (model, optimiser, inputs, targets, loss) -> the batch's loss, as `backprop.step`.
    Raises ValueError or TypeError for a field out of its range.
    """

    name: str
    per_element: Mapping[str, int]  #: arithmetic on the vector unit, in its format
    lr: float  #: default rate
    make: str
    per_tensor: Mapping[str, int] = field(default_factory=dict)  #: once in each tensor, as norms
    per_code: Mapping[str, int] = field(default_factory=dict)  #: "add", "compare" on exponents
    state_words: int = 0  #: of the vector unit's format, per element
    stores: str = "float"  #: what a step moves, "float" Parameters or "code": CodedTensors
    lns_update: bool = False  #: weights are stored in an LNSFormat without zero
    multiplicative: bool = False  #: cannot move a zero
    beside: str = ""  #: of a rule that stores codes: the rule of what stays a float
    phases: tuple[str, ...] = PHASES  #: of a step, in order; update is the last
    step: str = ".training.backprop:step"

    def __post_init__(self) -> None:
        require_choice("stores", self.stores, ("code", "float"))
        require_positive("lr", self.lr)
        require_int("state_words", self.state_words, 0, 64)
        for counts in (self.per_element, self.per_tensor, self.per_code):
            for kind, count in counts.items():
                require_int(kind, count, 0, 1 << 20)
        if self.phases[-1:] != ("update",):
            raise ValueError(f"phases must end with update, got {self.phases}")


# Arithmetic per element, with b1, b2, lr and the bias corrections as scalars: m, v and w are the
# first moment, the second and the weight, g the gradient. Rates are for short runs with the cosine
# schedule: the best of a grid on 10,000 held-out training images of Fashion-MNIST, MLP, fp32, 4
# epochs (bench/choose_lr.py), where nothing else is said. Madam's authors start at 0.01 for 300
# epochs; PyTorch's AdamW default is 0.001.
RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "sgd",
            # m = mu m + g; w -= lr m
            per_element={"multiply": 2, "add": 2},
            state_words=1,  # m
            lr=0.1,  # with momentum 0.9: the CIFAR baseline of Madam's repository, not tuned
            make=".rules.torch_optimisers:sgd",
        ),
        Rule(
            "adamw",
            # m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
            # w = (1 - lr wd) w - lr (c1 m) / (sqrt(c2 v) + eps): 2 + 3 + 4 multiplies (Loshchilov
            # and Hutter, arXiv 1711.05101)
            per_element={"multiply": 9, "add": 4, "divide": 1, "sqrt": 1},
            state_words=2,  # m and v
            lr=0.004,
            make=".rules.torch_optimisers:adamw",
        ),
        Rule(
            "madam",
            # v as above; u = clamp(g / sqrt(c2 v)); w *= exp(-lr u sign w); clamp |w|: 3 + 1 + 1 +
            # 1 multiplies (arXiv 2006.14560)
            per_element={
                "multiply": 6, "add": 1, "divide": 1, "sqrt": 1, "exp": 1, "compare": 3,
            },
            state_words=1,  # v
            lr=0.06,
            make=".rules.madam_optimisers:madam",
            multiplicative=True,
        ),
        Rule(
            "integer-madam",
            # v and u as above; round(lr_factor u); then, on the exponent's width,
            # e -= that times sign w, clamped at both ends (arXiv 2006.14560)
            per_element={
                "multiply": 5, "add": 1, "divide": 1, "sqrt": 1, "compare": 2, "round": 1,
            },
            per_code={"add": 1, "compare": 2},
            state_words=1,  # v
            lr=0.06,  # effective: lr_factor = lr * gamma / ln 2 steps of the stored lattice
            make=".rules.madam_optimisers:integer_madam",
            stores="code",
            lns_update=True,
            multiplicative=True,
            beside="madam",
        ),
        Rule(
            "lns-madam",
            # madam with u rounded to an integer, in octaves (arXiv 2106.13914)
            per_element={
                "multiply": 6, "add": 1, "divide": 1, "sqrt": 1, "exp": 1, "compare": 3, "round": 1,
            },
            state_words=1,  # v
            lr=1.0 / 16.0,  # octaves per unit of u, not tuned; the published default is 1/128
            make=".rules.madam_optimisers:lns_madam",
            lns_update=True,
            multiplicative=True,
        ),
    )
}  # fmt: skip


LNS_RULE = "integer-madam"  #: of LNS recipes where none is named


def get_rule(name: str) -> Rule:
    """Return the rule called `name`; an unknown name raises ValueError listing the known ones."""
    return RULES[require_choice("rule", name, RULES)]


def named(place: str) -> Any:
    """Return the function that `make` or `step` of a rule names, importing its module."""
    module, _, name = place.partition(":")
    return getattr(import_module(module, _SIM), name)
