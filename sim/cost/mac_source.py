"""What a multiply-accumulate is charged for: sources by name, to be chosen and added to.

A source turns one GEMM into events; the price table prices them. "components" counts the parts of
the datapath. "published-pe" charges one constant per MAC, reconstructed from the LNS-Madam paper's
energies per iteration (arXiv 2106.13914: one sample, three GEMM passes; see prices.csv): it stands
for a whole processing element with its registers and buffers at a node below 16 nm, and only the
four formats of the paper have one. Prices derived from gates would be a third source.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...lns.checks import require_choice
from ...lns.datapath import AnyDatapath, Datapath
from ...lns.format import FloatFormat, LNSFormat
from ...lns.mx_format import AnyFormat
from ..events.event import Event, Events
from ..events.mac import gemm_events

GemmEvents = Callable[[AnyDatapath, AnyFormat, AnyFormat, int, int, int], Events]


@dataclass(frozen=True, slots=True)
class MacSource:
    """A way of charging GEMMs."""

    name: str
    events: GemmEvents  #: (datapath, a, b, m, n, k) -> events
    covers_buffers: bool  #: the constants include the element's own buffers
    description: str


def published_events(
    datapath: AnyDatapath, a_fmt: AnyFormat, b_fmt: AnyFormat, m: int, n: int, k: int
) -> Events:
    """Return m n k events "mac"; ValueError for a format the paper has no figure of.

    The paper's own formats are meant: 8-bit LNS, fp8, fp16 and fp32 with its own accumulators;
    style "log" is none of them.
    """
    if isinstance(datapath, Datapath) and datapath.accumulator.style == "log":
        raise ValueError(
            "mac_prices must not be published-pe in style log: the paper sums fixed-point numbers"
        )
    return {Event("mac", a_fmt.bits, _published_name(a_fmt)): m * n * k}


def _published_name(fmt: AnyFormat) -> str:
    if isinstance(fmt, LNSFormat) and (fmt.bits, fmt.gamma) == (8, 8):
        return "lns8"
    if isinstance(fmt, FloatFormat) and (fmt.bits == 8 or fmt.name in ("fp16", "fp32")):
        return "fp8" if fmt.bits == 8 else fmt.name
    raise ValueError(
        f"mac_prices must not be published-pe for {fmt.name}: the paper has 8-bit LNS, fp8, fp16 "
        "and fp32, got none for it"
    )


MAC_SOURCES: dict[str, MacSource] = {
    source.name: source
    for source in (
        MacSource("components", gemm_events, False, "the datapath's parts, priced row by row"),
        MacSource(
            "published-pe",
            published_events,
            True,
            "one constant per MAC, reconstructed from LNS-Madam's energies per iteration; whole "
            "processing element, node below 16 nm, unconfirmed",
        ),
    )
}


def get_mac_source(name: str) -> MacSource:
    """Return a source by name; an unknown one raises ValueError listing the known ones."""
    return MAC_SOURCES[require_choice("mac_prices", name, MAC_SOURCES)]
