"""`Interval`: what is known of a price or an energy, low, mid and high; and how two compare."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """low <= mid <= high, in pJ."""

    low: float
    mid: float
    high: float

    def __add__(self, other: "Interval") -> "Interval":
        return Interval(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def scaled(self, factor: float) -> "Interval":
        """Return the interval times a number >= 0."""
        return Interval(self.low * factor, self.mid * factor, self.high * factor)

    def as_dict(self) -> dict[str, float]:
        """Return {"low", "mid", "high"}."""
        return {"low": self.low, "mid": self.mid, "high": self.high}

    def columns(self, start: str = "") -> dict[str, float]:
        """Return the ends by name of a table's column: `<start>low_pj` and so on."""
        return {f"{start}{end}_pj": value for end, value in self.as_dict().items()}


ZERO = Interval(0.0, 0.0, 0.0)


def ranking(a: Interval, b: Interval) -> str:
    """Return "lower", "higher" (a against b) or, where the intervals overlap, "cannot be ranked".

    Takes the two as independent, the strictest reading; configurations priced from one table are
    better told apart by `table.rank_events`.
    """
    if a.high < b.low:
        return "lower"
    return "higher" if a.low > b.high else "cannot be ranked"
