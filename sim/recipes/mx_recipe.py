"""Where a training recipe may have MX formats."""

from collections.abc import Mapping

from ...lns.datapath import AnyDatapath, FloatDatapath
from ...lns.format import FloatFormat, IntFormat
from ...lns.mx_format import AnyFormat, MXFormat


def check_blocks(
    formats: Mapping[str, AnyFormat | None], datapath: AnyDatapath, scaling: str
) -> None:
    """Refuse MX formats where they have no meaning; formats: by role.

    Weight, activation and error are all MX, of float elements or of integers, or none is. Their
    products need a float accumulator: the scales change along a sum. Gradients and stored weights
    belong to no product, so that their blocks would have no axis. Raises ValueError.
    """
    for role in ("gradient", "update"):
        fmt = formats[role]
        if isinstance(fmt, MXFormat):
            raise ValueError(f"{role} must not be in blocks, which need a product, got {fmt.name}")
    operands = [formats[role] for role in ("weight", "activation", "error")]
    blocks = [fmt for fmt in operands if isinstance(fmt, MXFormat)]
    if not blocks:
        return
    names = ", ".join(str(getattr(fmt, "name", fmt)) for fmt in operands)
    if len(blocks) < len(operands):
        raise ValueError(f"weight, activation and error must all be in blocks or none, got {names}")
    if len({isinstance(fmt.element, IntFormat) for fmt in blocks}) > 1:
        raise ValueError(f"elements must be all floats or all integers, got {names}")
    if not isinstance(datapath, FloatDatapath) or not isinstance(datapath.accumulator, FloatFormat):
        raise ValueError(
            "datapath must be a FloatDatapath with a float accumulator for blocks, whose scales "
            f"change along a sum, got {datapath!r}"
        )
    if scaling != "none":
        raise ValueError(f"scaling must be none for blocks, which have their own, got {scaling!r}")
