"""The networks lnsim knows by name, one name for one network in every command; built elsewhere."""

from ..checks import require_name

#: name -> what it is; networks.NETWORKS and models.MODELS build them
NETWORKS = {
    "resnet18-imagenet": "ResNet-18, ImageNet 224x224",
    "resnet50": "ResNet-50, ImageNet 224x224",
    "bert-base": "BERT-Base, 384 tokens",
    "bert-large": "BERT-Large, 384 tokens",
    "gpt-1.7b": "GPT, 1.7 billion parameters, 2048 tokens",
    "resnet18-cifar": "ResNet-18 in its CIFAR form, 32x32",
    "mlp": "MLP 784-256-128-10",
    "cnn": "CNN 16-32, 28x28",
}
#: what `train` and `sweep` take, for images of any data set
TRAINED = ("cnn", "mlp", "resnet18-cifar")
#: lnsim 0.1 wrote it for resnet18-cifar in train and sweep, resnet18-imagenet in energy
OLD_NAME = "resnet18"


def trained_name(name: str) -> str:
    """Return the name of a network that can be trained; `resnet18` of a 0.1 record is CIFAR's.

    Raises ValueError for an unknown name, and for one that is costed only.
    """
    if isinstance(name, str) and name == OLD_NAME:
        return "resnet18-cifar"
    if isinstance(name, str) and name in NETWORKS and name not in TRAINED:
        raise ValueError(
            f"model must be one of {', '.join(TRAINED)} to be trained, got {name!r}, which only "
            "`lnsim energy` takes"
        )
    return require_name("model", name, TRAINED)


def costed_name(name: str) -> str:
    """Return the name of a network; `resnet18` of 0.1 is ImageNet's here. ValueError if unknown."""
    if isinstance(name, str) and name == OLD_NAME:
        return "resnet18-imagenet"
    return require_name("model", name, NETWORKS)


def recorded_name(name: str) -> str:
    """Return the name that a run's record has for a trained network, so that older ids stay."""
    return OLD_NAME if name == "resnet18-cifar" else name
