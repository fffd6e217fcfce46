"""Argument checks of the simulator: `<name> must be <rule>, got <value>`, as in lns.checks."""

MAX_LOG_BITS = 15  #: of a sum in style "log", which is an LNSFormat: see Accumulator


def log_bits(exponent_bits: int) -> int:
    """Return E + 2, the least bits of style "log" over E; ValueError where no sum is so wide."""
    if exponent_bits > MAX_LOG_BITS - 2:
        raise ValueError(
            f"exponent_bits must be at most {MAX_LOG_BITS - 2} in style log, whose sums have two "
            f"bits more, got {exponent_bits}"
        )
    return exponent_bits + 2
