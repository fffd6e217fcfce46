"""Networks by name: one name, one network, and what the old spelling means where."""

import pytest
from lnsim.sim.runs.run_config import RunConfig
from lnsim.sim.runs.sweep_config import SweepConfig
from lnsim.sim.workload.catalog import NETWORKS, TRAINED, costed_name, trained_name
from lnsim.sim.workload.networks import network_workload, run_workload


@pytest.mark.parametrize(("name", "image"), [("mlp", (1, 28, 28)), ("resnet18-cifar", (3, 32, 32))])
def test_a_trained_network_is_the_one_that_is_costed(name: str, image: tuple[int, ...]) -> None:
    """The step of `train` on images of the size that `energy` takes, product by product."""
    assert run_workload(name, image, 10, 2).gemms == network_workload(name, 2).gemms


def test_names_say_themselves() -> None:
    """Every network can be costed; three can be trained, and the others say that they cannot."""
    assert {costed_name(name) for name in NETWORKS} == set(NETWORKS)
    assert [trained_name(name) for name in TRAINED] == list(TRAINED)
    for name in set(NETWORKS) - set(TRAINED):
        with pytest.raises(
            ValueError,
            match=rf"^model must be one of cnn, mlp, resnet18-cifar to be trained, got '{name}', "
            r"which only `lnsim energy` takes$",
        ):
            trained_name(name)
    for name, near in (("resnet", "resnet18-cifar"), ("MLP", "mlp")):
        with pytest.raises(ValueError, match=rf"got '{name}'; did you mean {near}\?$"):
            trained_name(name)
    with pytest.raises(ValueError, match=r"got 'bert'; did you mean bert-base\?$"):
        costed_name("bert")


def test_the_old_spelling_is_read() -> None:
    """A record's `resnet18` is CIFAR's and keeps its id; `energy` meant ImageNet's."""
    run = RunConfig(data="cifar10", model="resnet18")
    assert run == RunConfig(data="cifar10", model="resnet18-cifar")
    assert run.model == "resnet18-cifar"
    assert run.as_dict()["model"] == "resnet18"
    assert run.run_id == "93fc24a03bd1"
    assert RunConfig.from_dict(run.as_dict()) == run
    sweep = SweepConfig(data="cifar10", model="resnet18")
    assert sweep == SweepConfig(data="cifar10", model="resnet18-cifar")
    assert sweep.title == "cifar10-resnet18"  # the folder of an older sweep is found
    assert network_workload("resnet18").name == "resnet18-imagenet"
