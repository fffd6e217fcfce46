"""A systolic array walked cycle by cycle: the judge of the closed forms and of the values.

Nothing is computed from a formula here. Words move from register to register, one step a cycle; a
processing element that meets its operands multiplies them with `lns.oracle` and adds to its sum;
every word that crosses the edge to a buffer is counted when it does. Slow: for arrays and products
of a few elements.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lnsim.lns.array import LNSArray
from lnsim.lns.checks import require_choice
from lnsim.lns.datapath import Accumulator, Datapath
from lnsim.lns.format import LNSFormat
from lnsim.lns.oracle import term
from lnsim.lns.oracle_ops import split
from lnsim.sim.machine.systolic import DATAFLOWS, RECURRENCES

Codes = list[list[int]]
Product = Callable[[int, int], int]  # codes of a and b -> aligned term


@dataclass(slots=True)
class Walk:
    """What a walk counted and computed."""

    cycles: int = 0  #: elapsed
    folds: int = 0
    macs: int = 0  #: products a processing element really formed
    ifmap_reads: int = 0
    filter_reads: int = 0
    ofmap_reads: int = 0
    ofmap_writes: int = 0
    sums: Codes = field(default_factory=list)  #: (M, N) accumulators


@dataclass(frozen=True, slots=True)
class _Array:
    rows: int
    cols: int
    lanes: int
    depth: int
    passes: int
    drains: bool  #: outputs leave through the rows, R cycles for each held one
    accumulator: Accumulator
    product: Product


def walk_gemm(
    a: LNSArray,
    b: LNSArray,
    datapath: Datapath,
    *,
    rows: int,
    cols: int,
    dataflow: str,
    recurrence: str = "scalesim",
    depth: int = 1,
    streamed_passes: int = 1,
) -> Walk:
    """Walk a (M, K) times b (K, N), style "direct", lanes those of the accumulator.

    The arguments are those of `gemm_cost`. Raises ValueError for unknown names or style "bins".
    """
    require_choice("dataflow", dataflow, DATAFLOWS)
    require_choice("recurrence", recurrence, RECURRENCES)
    require_choice("style", datapath.accumulator.style, ("direct",))
    assert isinstance(a.fmt, LNSFormat)
    assert isinstance(b.fmt, LNSFormat)

    def product(code_a: int, code_b: int) -> int:
        (s_a, e_a), (s_b, e_b) = split(code_a, a.fmt), split(code_b, b.fmt)
        if e_a is None or e_b is None:
            return 0
        return term(e_a, s_a, a.fmt, e_b, s_b, b.fmt, datapath)

    array = _Array(
        rows, cols, datapath.accumulator.lanes, depth, streamed_passes,
        dataflow == "os" and recurrence == "paper", datapath.accumulator, product,
    )  # fmt: skip
    left, right = a.code.tolist(), b.code.tolist()
    if dataflow == "os":
        return _outputs_stay(left, right, array)
    if dataflow == "ws":
        return _filter_stays(left, right, array)
    # The ifmap stays: the same walk on the transposed product, whose two operands change names.
    swapped = _Array(
        rows, cols, array.lanes, depth, streamed_passes, False, array.accumulator,
        lambda x, y: product(y, x),
    )  # fmt: skip
    walk = _filter_stays(_transposed(right), _transposed(left), swapped)
    walk.ifmap_reads, walk.filter_reads = walk.filter_reads, walk.ifmap_reads
    walk.sums = _transposed(walk.sums)
    return walk


def _transposed(matrix: Codes) -> Codes:
    return [list(row) for row in zip(*matrix, strict=True)]


def _pieces(size: int, step: int) -> Iterator[range]:
    """Consecutive ranges of at most `step`."""
    for start in range(0, size, step):
        yield range(start, min(start + step, size))


def _cut(size: int, passes: int) -> list[range]:
    """`size` steps in `passes` consecutive ranges, none empty."""
    bounds = [size * i // passes for i in range(passes + 1)]
    return [range(x, y) for x, y in pairwise(bounds)]


def _add(total: int, terms: Sequence[int], accumulator: Accumulator) -> int:
    """Accumulator plus the exact sum of a group, saturated or wrapped to W bits."""
    total += sum(terms)
    half = 1 << (accumulator.bits - 1)
    if accumulator.overflow == "wrap":
        return (total + half) % (2 * half) - half
    return min(max(total, -half), half - 1)


def _outputs_stay(a: Codes, b: Codes, array: _Array) -> Walk:
    M, K, N = len(a), len(a[0]), len(b[0])
    walk = Walk(sums=[[0] * N for _ in range(M)])
    groups = list(_pieces(K, array.lanes))
    for columns in _pieces(N, array.cols):
        blocks = list(_pieces(M, array.rows))
        for held in _pieces(len(blocks), array.depth):
            for number, some in enumerate(_cut(len(groups), array.passes)):
                steps = [(groups[g], blocks[h]) for g in some for h in held]
                _stream_outputs(a, b, walk, array, columns, steps, again=number > 0)
                walk.folds += 1
                if array.drains:
                    walk.cycles += array.rows * len(held)
                walk.ofmap_writes += sum(len(blocks[h]) for h in held) * len(columns)
    return walk


def _stream_outputs(
    a: Codes,
    b: Codes,
    walk: Walk,
    array: _Array,
    columns: range,
    steps: list[tuple[range, range]],
    again: bool,
) -> None:
    """One fold: operands enter skewed, ifmap rows from the left, filter columns from the top."""
    R, C = array.rows, array.cols
    across: list[list[int | None]] = [[None] * C for _ in range(R)]  # step passing, from the left
    down: list[list[int | None]] = [[None] * C for _ in range(R)]
    if again:
        walk.ofmap_reads += sum(len(block) for block in {s[1] for s in steps}) * len(columns)
    left = len(steps) * R * C  # meetings still to come; bubbles included
    cycle = 0
    while left:
        for i in range(R):
            step = cycle - i if 0 <= cycle - i < len(steps) else None
            across[i] = [step, *across[i][:-1]]
            if step is not None and i < len(steps[step][1]):
                walk.ifmap_reads += len(steps[step][0])
        tops: list[int | None] = []
        for j in range(C):
            step = cycle - j if 0 <= cycle - j < len(steps) else None
            tops.append(step)
            # a filter word stays in the edge register while the held outputs use it in turn
            fresh = step is not None and (step == 0 or steps[step][0] != steps[step - 1][0])
            if step is not None and fresh and j < len(columns):
                walk.filter_reads += len(steps[step][0])
        down = [tops, *down[:-1]]
        for i in range(R):
            for j in range(C):
                if across[i][j] is None:
                    continue
                assert across[i][j] == down[i][j], "operands of one step meet"
                left -= 1
                group, block = steps[across[i][j] or 0]
                if i < len(block) and j < len(columns):
                    m, n = block[i], columns[j]
                    terms = [array.product(a[m][k], b[k][n]) for k in group]
                    walk.sums[m][n] = _add(walk.sums[m][n], terms, array.accumulator)
                    walk.macs += len(group)
        cycle += 1
    walk.cycles += cycle


def _filter_stays(a: Codes, b: Codes, array: _Array) -> Walk:
    M, K, N = len(a), len(a[0]), len(b[0])
    walk = Walk(sums=[[0] * N for _ in range(M)])
    groups = list(_pieces(K, array.lanes))
    for some in _pieces(len(groups), array.rows):
        own = [groups[g] for g in some]
        blocks = list(_pieces(N, array.cols))
        for held in _pieces(len(blocks), array.depth):
            for lines in _cut(M, array.passes):
                columns = [blocks[h] for h in held]
                for block in columns:  # one row of filter words enters a cycle and moves down
                    walk.cycles += array.rows
                    walk.filter_reads += sum(len(group) for group in own) * len(block)
                steps = [(m, h) for m in lines for h in range(len(columns))]
                _stream_sums(a, b, walk, array, own, columns, steps, first=some.start == 0)
                walk.folds += 1
    return walk


def _stream_sums(
    a: Codes,
    b: Codes,
    walk: Walk,
    array: _Array,
    own: list[range],
    columns: list[range],
    steps: list[tuple[int, int]],
    first: bool,
) -> None:
    """One fold: ifmap rows enter from the left, partial sums from the top, one row down a cycle."""
    R, C = array.rows, array.cols
    across: list[list[int | None]] = [[None] * C for _ in range(R)]
    sums: list[list[int | None]] = [[None] * C for _ in range(R)]  # of the step at that place
    left = len(steps) * C  # sums still to leave at the bottom; bubbles included
    cycle = 0
    while left:
        above: list[int | None] = [None] * C
        for j in range(C):
            step = cycle - j
            if 0 <= step < len(steps):
                m, h = steps[step]
                above[j] = 0
                if j < len(columns[h]) and not first:
                    above[j] = walk.sums[m][columns[h][j]]
                    walk.ofmap_reads += 1
        entering = [above, *(list(row) for row in sums[:-1])]
        for i in range(R):
            step = cycle - i
            inside = 0 <= step < len(steps)
            across[i] = [step if inside else None, *across[i][:-1]]
            # an ifmap word stays in the edge register while the held filters use it in turn
            if inside and i < len(own) and steps[step][1] == 0:
                walk.ifmap_reads += len(own[i])
        for i in range(R):
            for j in range(C):
                here, total = across[i][j], entering[i][j]
                assert (here is None) == (total is None), "a word and its sum meet"
                if here is not None and total is not None and i < len(own):
                    m, h = steps[here]
                    if j < len(columns[h]):
                        n = columns[h][j]
                        terms = [array.product(a[m][k], b[k][n]) for k in own[i]]
                        total = _add(total, terms, array.accumulator)
                        walk.macs += len(own[i])
                sums[i][j] = total
                if i == R - 1 and here is not None and total is not None:
                    left -= 1
                    m, h = steps[here]
                    if j < len(columns[h]):
                        walk.sums[m][columns[h][j]] = total
                        walk.ofmap_writes += 1
        cycle += 1
    walk.cycles += cycle
