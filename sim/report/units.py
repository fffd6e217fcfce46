"""Energies and times for people: everything inside is pJ and seconds."""

from ..prices.interval import Interval

_UNITS = ((1.0, "pJ"), (1e3, "nJ"), (1e6, "µJ"), (1e9, "mJ"), (1e12, "J"))


def unit_of(energy_pj: float) -> tuple[str, float]:
    """Return (unit, unit per pJ), the largest unit in which `energy_pj` is at least 1."""
    size, unit = max((u for u in _UNITS if u[0] <= energy_pj), default=_UNITS[0])
    return unit, 1.0 / size


def time_text(seconds: tuple[float, float]) -> str:
    """Return `low–high unit`, or one number where both print alike, in a unit of 1 and more."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
    size, unit = next((u for u in units if seconds[1] >= u[0]), units[-1])
    low, high = (digits(value / size) for value in seconds)
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


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
