"""What a run needs, resolved once: its recipe, its machine, its prices and one step's workload."""

from dataclasses import dataclass
from functools import cached_property

from ..machine.machine import Machine
from ..prices.table import PriceTable
from ..recipes.recipe import Recipe
from ..workload.workload import Workload


@dataclass(frozen=True)
class Plan:
    """A run's configuration with every name looked up and every file read.

    Made by `RunConfig.resolve()`; it needs no file afterwards.
    """

    recipe: Recipe  #: with the run's optimiser
    machine: Machine  #: with the run's lanes
    prices: PriceTable  #: of the machine's node, with the run's rows and the machine's DRAM
    model: str
    image: tuple[int, ...]  #: (C, H, W)
    classes: int
    batch: int

    @cached_property
    def workload(self) -> Workload:
        """One training step on a batch, traced when it is first asked for, which needs torch."""
        from ..workload.networks import run_workload

        return run_workload(self.model, self.image, self.classes, self.batch)
