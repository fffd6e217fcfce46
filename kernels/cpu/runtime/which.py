"""The inner loops in use: vector IR, or plain Numba with the environment's LNSIM_PLAIN=1."""

from .cache import PLAIN

if PLAIN:
    from ..ir.plain import (
        add_terms_floor,
        add_terms_toward_zero,
        add_weighted_floor,
        add_weighted_toward_zero,
        expand_1,
        expand_2,
        expand_4,
        expand_8,
        factor_size,
        fold_terms,
        for_each,
        keep_apart,
        largest_code,
        look_up,
        move,
        peak,
        put_column,
        put_row,
        put_tile,
        reach,
        read_spans,
        set_rounding,
        spread,
        step_terms_floor,
        step_terms_toward_zero,
        turn_8,
    )
else:
    from ..ir.add_terms import (
        add_terms_floor,
        add_terms_toward_zero,
        factor_size,
        keep_apart,
        move,
        peak,
        set_rounding,
    )
    from ..ir.add_weighted import add_weighted_floor, add_weighted_toward_zero
    from ..ir.moves import (
        expand_1,
        expand_2,
        expand_4,
        expand_8,
        largest_code,
        look_up,
        read_spans,
        turn_8,
    )
    from ..ir.pack_words import reach, spread
    from ..ir.results import put_column, put_row, put_tile
    from ..ir.step_terms import fold_terms, step_terms_floor, step_terms_toward_zero
    from ..ir.tasks import for_each

__all__ = [
    "PLAIN",
    "add_terms_floor",
    "add_terms_toward_zero",
    "add_weighted_floor",
    "add_weighted_toward_zero",
    "expand_1",
    "expand_2",
    "expand_4",
    "expand_8",
    "factor_size",
    "fold_terms",
    "for_each",
    "keep_apart",
    "largest_code",
    "look_up",
    "move",
    "peak",
    "put_column",
    "put_row",
    "put_tile",
    "reach",
    "read_spans",
    "set_rounding",
    "spread",
    "step_terms_floor",
    "step_terms_toward_zero",
    "turn_8",
]
