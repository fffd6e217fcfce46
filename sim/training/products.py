"""What a layer declares of its products: which operands meet, and which axis each contracts.

From it follow the formats of a product, which axis of a tensor is cut into MX blocks, and how often
a tensor is encoded.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a product: a tensor by its role, and the axis that the product contracts.

    grouped: is that axis cut into the layer's groups? No product reaches across groups, so blocks
    of a tensor do not either.
    """

    role: str  #: "activation", "weight" or "error": the recipe's format
    axis: int
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """One product of a layer; its GEMMs are counted under `phase`."""

    phase: str
    a: Operand
    b: Operand

    def operand(self, role: str) -> Operand:
        """The side that is the tensor of this role."""
        return self.a if self.a.role == role else self.b


# Of a layer with one weight: x (rows, inputs, ...), w (outputs, inputs of a group, ...),
# dy (rows, outputs, ...).
FORWARD = Product("forward", Operand("activation", 1, True), Operand("weight", 1))
DX = Product("dx", Operand("error", 1, True), Operand("weight", 0, True))
DW = Product("dw", Operand("error", 0), Operand("activation", 0))
