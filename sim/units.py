"""Energies for people: everything inside is pJ, only reports speak of µJ or mJ."""

from .energy import Interval

_UNITS = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))


def unit_of(energy_pj: float) -> tuple[str, float]:
    """Return (unit, unit per pJ), the largest unit in which `energy_pj` is at least 1."""
    size, unit = max((u for u in _UNITS if u[0] <= energy_pj), default=_UNITS[0])
    return unit, 1.0 / size


def digits(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def energy_text(energy: Interval, factor: float) -> str:
    """Return `mid (low to high)` in the unit of `factor`."""
    low, mid, high = (digits(x * factor) for x in (energy.low, energy.mid, energy.high))
    return f"{mid} ({low}–{high})"
