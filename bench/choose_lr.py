"""Choose learning rates without the test set: train on 50,000 images, judge on 10,000 others.

`python bench/choose_lr.py` prints the held-out accuracy of float Madam and AdamW in fp32 over a
grid of rates (Fashion-MNIST, MLP, 4 epochs, batch 128, cosine schedule, two seeds). The defaults of
`lnsim.sim.rules.rule.RULES` and the measured tables use the best of each; formats are
not tuned.
"""

import numba
import numpy as np
import torch
from lnsim.sim.data.datasets import load_data
from lnsim.sim.recipes.names import get_recipe
from lnsim.sim.runs.train import batch_order, lr_scale
from lnsim.sim.training.convert import convert
from lnsim.sim.training.make_optimiser import make_optimiser, set_lr_scale
from lnsim.sim.workload.models import make_model
from torch.nn.functional import cross_entropy

EPOCHS, BATCH, HELD_OUT = 4, 128, 10_000
GRID = {
    "fp32-madam": (0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.1),
    "fp32": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
}


def held_out_accuracy(recipe_name: str, lr: float, seed: int) -> float:
    """Accuracy in percent on the last HELD_OUT training images after training on the others."""
    data = load_data("fashion-mnist")
    x, y = data.train_x[:-HELD_OUT], data.train_y[:-HELD_OUT]
    recipe = get_recipe(recipe_name)
    model = convert(make_model("mlp", data.train_x.shape[1:], data.classes, seed), recipe)
    optimiser = make_optimiser(model, recipe, lr=lr)
    steps = len(y) // BATCH
    for step in range(EPOCHS * steps):
        epoch, i = divmod(step, steps)
        rows = batch_order(seed, epoch, len(y))[i * BATCH : (i + 1) * BATCH]
        set_lr_scale(optimiser, lr_scale("cosine", step, EPOCHS * steps))
        optimiser.zero_grad()
        scores = model(torch.from_numpy(x[rows]))
        cross_entropy(scores, torch.from_numpy(y[rows])).backward()
        optimiser.step()
    with torch.no_grad():
        found = model(torch.from_numpy(data.train_x[-HELD_OUT:])).argmax(1).numpy()
    return 100.0 * float(np.mean(found == data.train_y[-HELD_OUT:]))


def main() -> None:
    """Print one line per recipe and rate."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    for name, rates in GRID.items():
        for lr in rates:
            accuracy = [held_out_accuracy(name, lr, seed) for seed in (0, 1)]
            print(f"{name:12} lr {lr:<7g} held-out accuracy {np.mean(accuracy):.2f} {accuracy}")


if __name__ == "__main__":
    main()
