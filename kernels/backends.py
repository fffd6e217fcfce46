"""What a backend offers, and the backends by name, imported on use.

A backend computes on codes of its own, which lie where it works; all that others ask of them is
`fmt`, `offset`, `shape` and `T`. Two backends give the same bits for the same numbers, counts
included; "oracle" is the plain one that the others are compared with.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from ..lns.checks import require_choice
from .operands import Pattern, Place

#: name -> module beside this file; "": not built yet
BACKENDS = {"cpu": ".cpu.backend", "oracle": ".oracle", "cuda": ""}


@dataclass(frozen=True, slots=True)
class EncodeCounts:
    """What an encoding did to its elements."""

    elements: int
    saturated: int  #: finite inputs beyond the top code: clipped, or turned to infinity
    underflowed: int  #: nonzero inputs that became zero (zero=False: that went below e = 0)

    def __add__(self, other: "EncodeCounts") -> "EncodeCounts":
        """Counts of both together."""
        return EncodeCounts(
            self.elements + other.elements,
            self.saturated + other.saturated,
            self.underflowed + other.underflowed,
        )


class Backend(Protocol):
    """Everything training asks of a backend; arguments are checked by the caller or are its own."""

    def asarray(self, x: Any) -> Any:
        """Return numbers as this backend's own array of the same dtype and shape.

        x: what offers `__array__` (a CPU tensor) or the backend's own. Memory is shared, so that
        writing to the one writes to the other, where both lie in the same place.
        """

    def codes(self, code: Any, offset: int, fmt: Any) -> Any:
        """Return codes of `fmt` at one offset from integers of any dtype and shape."""

    def integers(self, codes: Any) -> Any:
        """Return codes as the integers `codes` makes them from, int32, a copy."""

    def product(self, a: Any, b: Any, datapath: Any) -> tuple[Any, int]:
        """Return (accumulators, overflowed) of a (M, K) times b (K, N): `matmul_counted`.

        Raises NonFiniteError for a NaN or infinity that meets a fixed-point accumulator.
        """

    def product_real(
        self, a: Any, b: Any, datapath: Any, place: Place | None = None
    ) -> tuple[Any, int]:
        """Return (float32 values, overflowed) of a (M, K) times b (K, N): `matmul_real`.

        place: where they are written; its memory is then returned.
        """

    def quantise(
        self,
        x: Any,
        fmt: Any,
        offset: Any = None,
        rounding: str = "nearest",
        generator: Any = None,
        scaling: str = "none",
        random_bits: int = 8,
    ) -> tuple[Any, EncodeCounts]:
        """Return (codes of x, what was lost): `kernels.quantise`."""

    def quantise_blocks(
        self, x: Any, fmt: Any, axis: int, groups: int = 1
    ) -> tuple[Any, EncodeCounts]:
        """Return (the values of x in MX blocks along an axis, as FP32 codes; what was lost).

        x: float32, finite (else NonFiniteError). groups: parts of the axis that share no block. A
        value of a block is exact in float32.
        """

    def requantise(self, codes: Any, fmt: Any, offset: Any = None) -> tuple[Any, EncodeCounts]:
        """Return (LNS codes in another LNS format, what was lost): `kernels.requantise`."""

    def decode(self, codes: Any) -> Any:
        """Return the float32 nearest to every value: `kernels.decode`."""

    def matrix(self, codes: Any, first: int = 0, count: int | None = None) -> Any:
        """Return `count` parts from `first` on along the first axis (None: all), a row each."""

    def patches(self, codes: Any, pattern: Pattern) -> Any:
        """Return the matrix whose elements lie in `codes` where the pattern says; nothing moves."""

    def pad(self, codes: Any, pads: tuple[tuple[int, int], tuple[int, int]]) -> Any:
        """Return codes (N, C, H, W) with zero codes at (top, bottom), (left, right).

        A negative number crops.
        """

    def spread(self, codes: Any, stride: tuple[int, int], extra: tuple[int, int]) -> Any:
        """Return codes (N, C, H, W) with stride - 1 zero codes between them, `extra` at the end."""

    def turned_kernel(self, codes: Any, first: int = 0, count: int | None = None) -> Any:
        """Return weights (O, I, H, W) as the matrix (O H W, I), each kernel turned by 180 degrees.

        What the errors of a convolution are multiplied with on the way back; of `count` outputs
        from `first` on (None: of all).
        """

    def move(
        self,
        code: Any,
        gradient: Any,
        v: Any,
        step: int,
        lr_factor: float,
        exponent_bits: int,
        beta2: float = 0.999,
        g_bound: float = 10.0,
    ) -> tuple[int, int, int] | None:
        """Move stored codes by integer Madam, in place: `kernels.move_codes`."""


def get_backend(name: str) -> Backend:
    """Import the backend called `name`.

    Raises ValueError for an unknown name, NotImplementedError for one that is not built yet.
    """
    place = BACKENDS[require_choice("backend", name, BACKENDS)]
    if not place:
        built = ", ".join(sorted(known for known, module in BACKENDS.items() if module))
        raise NotImplementedError(f"backend must be one of {built}, got {name!r}: not built yet")
    return _imported(place)


@cache
def _imported(place: str) -> Backend:
    found: Any = import_module(place, __package__)
    return found
