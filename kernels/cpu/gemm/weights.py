"""Tables of style "bins" for weighted terms: see `bins.py`."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ....lns.datapath import Datapath
from ....lns.format import LNSFormat
from .tables import (
    MAX_ENTRIES,
    MAX_ROWS,
    TermTable,
    assembled,
    lane_type,
    lns_operand,
    lns_terms,
)


@dataclass(frozen=True, slots=True, eq=False)
class WeightedTable:
    """What `bins.py` reads for one datapath and pair of formats."""

    terms: TermTable  #: of the terms themselves, whatever their bin
    weights: npt.NDArray[np.float32]  #: 1-D, int32 constant of every entry's bin, by its bits
    least: int  #: smallest constant
    most: int  #: largest constant


@lru_cache(maxsize=64)
def weighted_table(datapath: Datapath, a: LNSFormat, b: LNSFormat) -> WeightedTable | None:
    """Return the tables for style "bins"; None where a weighted term does not fit 32 bits."""
    mac, rows = datapath.resolve(a, b), min(a.gamma, 1 << a.exponent_bits)
    if max(a.bits, b.bits) > 16 or rows > MAX_ROWS or rows << b.bits > MAX_ENTRIES:
        return None
    term_bits, most = mac.product_bits - mac.shift, max(mac.constants)
    if lane_type(datapath.accumulator, term_bits, 0, False) is not np.float32:
        return None
    if term_bits + most.bit_length() > 30:
        return None
    terms = lns_terms(mac, a, b, False)
    made = assembled(datapath, (a, b), terms, (1,), np.float32)
    if made is None:
        return None
    left, right = (
        np.unique(lns_operand(fmt, ratio, mac.gamma).remainder, return_inverse=True)
        for fmt, ratio in ((a, mac.ratio_a), (b, mac.ratio_b))
    )
    rest = (left[0] + right[0][right[1]][:, None]) % mac.gamma
    weights = np.zeros(made.table.shape, np.int32)
    own = np.array(mac.constants)[rest // (mac.gamma // mac.entries)]
    weights[: own.shape[0], : own.shape[1]] = own
    flat = weights.reshape(-1).view(np.float32)
    return WeightedTable(made, flat, min(mac.constants), most)
