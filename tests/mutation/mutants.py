"""Small ways to break the codec, the arithmetic and the kernels, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `before`, which stands once in `file`, becomes `after`."""

    file: str
    before: str
    after: str
    tests: tuple[str, ...]  #: what must fail, as pytest takes it
    why: str


def _in(tests: str) -> tuple[str, ...]:
    places = (name.rpartition("/") for name in tests.split())
    return tuple(f"tests/{folder}/test_{name}.py" for folder, _, name in places)


_CODEC, _ENCODER, _FAST = _in("lns/codec"), _in("kernels/quantise"), _in("kernels/tile")
_LNS, _LOG = _in("kernels/gemm"), _in("kernels/log")

MUTANTS = (
    # --- the codec and the exact arithmetic (lns) ---
    Mutant(
        "lns/thresholds.py", "pow2_fixed(2 * k - 1, 2 * gamma, mantissa_bits)",
        "pow2_fixed(2 * k - 1, 2 * gamma, mantissa_bits) + 1", _CODEC,
        "a threshold of encode one unit of the significand too high",
    ),
    Mutant(
        "lns/thresholds.py", "if low >> guard == high >> guard:\n            return low >> guard",
        "if low >> guard == high >> guard:\n            return high >> guard - 1 >> 1 | 1", _CODEC,
        "floors of powers with their last bit stuck",
    ),
    Mutant(
        "lns/log_codec.py", "return -((fmt.max_exponent - largest_step) // fmt.gamma) * fmt.gamma",
        "return -((fmt.max_exponent - largest_step) // fmt.gamma - 1) * fmt.gamma", _CODEC,
        "a default scale an octave too large",
    ),
    Mutant(
        "lns/log_codec.py", "gone = zero | (e < fmt.min_exponent) if fmt.zero else zero",
        "gone = zero | (e < 0) if fmt.zero else zero", _CODEC,
        "e = 0 kept as a magnitude beside zero",
    ),
    Mutant(
        "lns/log_codec.py", "return (fine + draws) >> random_bits",
        "return (fine + draws + 1) >> random_bits", _CODEC,
        "stochastic rounding with one draw too many that rounds up",
    ),
    Mutant(
        "lns/log_codec.py", "return steps + (tie & (odd == 1)), offset",
        "return steps + (tie & (odd == 0)), offset", _CODEC,
        "the tie of gamma = 1 goes to the odd exponent",
    ),
    Mutant(
        "lns/log_codec.py", "np.array([float((n + 1) >> 1) for n in doubled])",
        "np.array([float(n >> 1) for n in doubled])", _CODEC,
        "decoded significands cut instead of rounded",
    ),
    Mutant(
        "lns/float_codec.py",
        "up = (drop > 0) & ((rest > half) | ((rest == half) & (kept & 1 == 1)))",
        "up = (drop > 0) & (rest >= half)", _in("lns/float_formats"),
        "float ties away from zero",
    ),
    Mutant(
        "lns/float_codec.py",
        "return fmt.max_code + 1 if fmt.encoding == \"ieee\" else nan_code(fmt)",
        "return fmt.max_code if fmt.encoding == \"ieee\" else nan_code(fmt)", _in("lns/float_formats"),
        "an overflow that should be infinite saturates",
    ),
    Mutant(
        "lns/arith.py", "    half = (1 << places) >> 1\n    return kept + ((rest > half) |",
        "    half = (1 << places) >> 1\n    return kept + ((rest >= half) |", _in("lns/arith"),
        "requantise and sqrt round half up",
    ),
    Mutant(
        "lns/arith.py", "steps = _halved(exact - (shift << places), places) + shift",
        "steps = _halved(exact, places)", _in("lns/arith"),
        "requantise rounds before the new offset is taken off",
    ),
    Mutant(
        "lns/arith.py", "negative = np.where(left.e >= right.e, left.negative, right.negative)",
        "negative = np.where(left.e > right.e, left.negative, left.negative)", _in("lns/arith"),
        "a sum takes the sign of its first operand",
    ),
    Mutant(
        "lns/arith.py", "cancelled = opposite & (distance == 0)",
        "cancelled = opposite & (distance < 0)", _in("lns/arith"),
        "x - x is not zero",
    ),
    Mutant(
        "lns/gauss.py", "return [count - n for n in places]",
        "return [count - n - (i == 3) for i, n in enumerate(places)]", _in("lns/arith lns/sums"),
        "one entry of D one step too small",
    ),
    Mutant(
        "lns/gauss.py", "unit = width << KNOT_BITS", "unit = (width << KNOT_BITS) + 1",
        _in("lns/arith lns/sums"), "interpolation divides by a little too much",
    ),
    Mutant(
        "lns/gauss.py", "middles = [2 * i * width + width - 1 for i in range(used)]",
        "middles = [2 * i * width + width for i in range(used)]", _in("lns/arith lns/sums"),
        "a table's entry half a distance off its middle",
    ),
    Mutant(
        "lns/sums.py", "parts = pairs + parts[2 * len(pairs) :]",
        "parts = parts[2 * len(pairs) :] + pairs", _in("lns/sums"),
        "the odd element of a tree goes first",
    ),
    Mutant(
        "lns/datapath.py", "return (pow2_fixed(m, entries, table_bits + 1) + 1) >> 1",
        "return pow2_fixed(m, entries, table_bits)", _in("lns/datapath"),
        "antilog constants cut instead of rounded",
    ),
    Mutant(
        "lns/datapath.py", "shift=max(0, product_bits - datapath.accumulator.term_bits)",
        "shift=max(1, product_bits - datapath.accumulator.term_bits)", _in("lns/datapath"),
        "products that need no shift are shifted",
    ),
    # --- the kernels ---
    Mutant(
        "kernels/cpu/codes/encoders.py", "above = np.int64(rest > half) | (np.int64(rest == half) & kept",
        "above = np.int64(rest > half) | (np.int64(rest == half) & (kept + 1)", _ENCODER,
        "float and integer ties to odd",
    ),
    Mutant(
        "kernels/cpu/codes/encoders.py", "steps[i] += step + np.int64(significand[i] > table[step])",
        "steps[i] += step + np.int64(significand[i] >= table[step])", _ENCODER,
        "a value on a threshold takes the next step",
    ),
    Mutant(
        "kernels/cpu/ir/elementwise.py", "builder.icmp_signed(\">\", frac, limit)",
        "builder.icmp_signed(\">=\", frac, limit)", _ENCODER,
        "the 32-bit encoder takes the next step on a threshold",
    ),
    Mutant(
        "kernels/cpu/ir/elementwise.py", "held = builder.select(negative, _number(0), held)",
        "held = builder.select(negative, _number(1), held)", _ENCODER,
        "too small a value without zero becomes e = 1",
    ),
    Mutant(
        "kernels/cpu/ir/elementwise.py", "builder.add(exact, builder.add(bias, odd))",
        "builder.add(exact, builder.add(bias, ties))", _in("kernels/quantise"),
        "fast requantise rounds half up",
    ),
    Mutant(
        "kernels/cpu/ir/elementwise.py", "[builder.and_(mask, left) for mask in (large, small)]",
        "[large, small]", _in("kernels/quantise"),
        "a zero that is requantised counts as underflowed",
    ),
    Mutant(
        "kernels/cpu/codes/decode.py", "kept = kept + (half & (inexact | (kept & 1)))",
        "kept = kept + half", _in("kernels/quantise kernels/float"),
        "a tie of a subnormal power goes up",
    ),
    Mutant(
        "kernels/cpu/gemm/tables.py", "carry, rest = np.divmod(remainders + b.remainder[:, None], mac.gamma)",
        "carry, rest = np.divmod(remainders + b.remainder[:, None], mac.gamma)\n"
        "    carry = carry * (rest > 0)", _FAST,
        "the carry of two remainders lost where they make a whole octave",
    ),
    Mutant(
        "kernels/cpu/gemm/tables.py", "held = np.maximum(magnitude, 2.0**-CLAMP)",
        "held = np.where(magnitude < 2.0**-CLAMP, 0.0, magnitude)", _FAST,
        "tiny negative products floor to 0 instead of -1",
    ),
    Mutant(
        "kernels/cpu/gemm/tables.py", "SINGLE_BITS, DOUBLE_BITS = 22, 51",
        "SINGLE_BITS, DOUBLE_BITS = 25, 54", _FAST,
        "sums leave the octave in which floats have steps of 1",
    ),
    Mutant(
        "kernels/cpu/gemm/bounds.py", "return total * _SLACK + (last - first) + 1.0",
        "return (total * _SLACK + (last - first) + 1.0) / 4.0", _FAST,
        "a bound on what a chunk can add is too small: saturation is missed",
    ),
    Mutant(
        "kernels/cpu/gemm/bounds.py", "entry * _SLACK) + count + 1", "entry * _SLACK / 4.0) + count + 1",
        _in("kernels/tile"), "a reach allows rows too little: they leave a float's octave",
    ),
    Mutant(
        "kernels/cpu/gemm/bounds.py", "room = min(chain - nearer,", "room = min(2 * chain - nearer,",
        _in("kernels/tile"), "near sums are carried too late",
    ),
    Mutant(
        "kernels/cpu/ir/add_terms.py", "total = builder.add(load(builder, target), total)",
        "total = builder.add(load(builder, target), builder.sub(total, lane.constant(1)))", _FAST,
        "every carry takes one from a sum",
    ),
    Mutant(
        "kernels/cpu/ir/pack_words.py", "_I32(SIZE)", "_I32(0xFFFFFFFF)", _in("kernels/tile"),
        "negative factors shorten a reach",
    ),
    Mutant(
        "kernels/cpu/ir/pack_words.py", "builder.add(words, moved)", "words", _FAST,
        "every product of a chunk reads the first one's panel",
    ),
    Mutant(
        "kernels/cpu/gemm/bins.py", "top = int(table.terms.limits[1]) * table.least",
        "top = int(table.terms.limits[1]) * table.most", _FAST,
        "bins are taken to have room that they have not",
    ),
    Mutant(
        "kernels/cpu/gemm/bins.py", "rest // (mac.gamma // mac.entries)", "rest % mac.entries", _FAST,
        "a weighted term takes another bin's constant",
    ),
    Mutant(
        "kernels/cpu/ir/step_terms.py", "wrapped = builder.ashr(builder.shl(total, spare), spare)",
        "wrapped = builder.lshr(builder.shl(total, spare), spare)", _FAST,
        "a wrapped accumulator loses its sign",
    ),
    Mutant(
        "kernels/cpu/ir/step_terms.py",
        "clamped = builder.select(builder.icmp_signed(\"<\", total, low), low, total)",
        "clamped = total", _FAST,
        "no saturation at the negative end",
    ),
    Mutant(
        "kernels/cpu/gemm/packing.py", "group, fold = lanes, np.zeros(start.size, np.uint8)",
        "group, fold = 1, np.zeros(start.size, np.uint8)", _FAST,
        "lanes saturate one by one instead of as a group",
    ),
    Mutant(
        "kernels/cpu/gemm/finish.py", "total[0] += constants[m] * acc[column // width, i, column % width]",
        "total[0] += constants[bins - 1 - m] * acc[column // width, i, column % width]", _LNS,
        "bins meet each other's constants",
    ),
    Mutant(
        "kernels/cpu/gemm/wide.py", "return ((-magnitude if negative else magnitude) << left) >> right",
        "shifted = (magnitude << left) >> right\n    return -shifted if negative else shifted",
        _LNS,
        "the general kernel rounds towards zero where it should floor",
    ),
    Mutant(
        "kernels/cpu/gemm/wide.py", "return min(max(total, -half), half - 1)",
        "return min(max(total, 1 - half), half - 1)", _LNS,
        "the general kernel's lowest accumulator is missing",
    ),
    Mutant(
        "kernels/cpu/gemm/wide.py", "group[j] += term if other >= 0 else np.int64(0)",
        "group[j] += term", _LNS,
        "a zero operand counts as a number in the general kernel",
    ),
    Mutant(
        "kernels/cpu/gemm/float.py",
        "away = np.int64(1) if (error > 0) == (total > 0) else np.int64(-1)",
        "away = np.int64(1)", _in("kernels/float"),
        "rounding to odd goes the wrong way: double rounding",
    ),
    Mutant(
        "kernels/cpu/ir/fma.py", "totals[v] = builder.call(fma, [value, other, totals[v]])",
        "totals[v] = builder.fadd(builder.fmul(value, other), totals[v])", _in("kernels/float"),
        "a float product is rounded before it is added",
    ),
    Mutant(
        "kernels/cpu/gemm/log.py", "negative[j] = s[j] if d >= np.int32(0) else xs",
        "negative[j] = xs", _LOG,
        "a logarithmic sum takes the sign of the product",
    ),
    Mutant(
        "kernels/cpu/gemm/log.py",
        "    whole[length] = _ZERO  # equal magnitudes of opposite signs\n", "", _LOG,
        "products that cancel leave a magnitude",
    ),
    Mutant(
        "kernels/cpu/gemm/log.py", "exponent = (own[k] >> np.int32(1)) + np.int32(1)",
        "exponent = (own[k] >> np.int32(1))", _LOG,
        "a product enters the logarithmic sum one step too low",
    ),
    Mutant(
        "kernels/cpu/ir/elementwise.py", 'for name in ("sqrt", "rint")', 'for name in ("sqrt", "round")',
        _in("sim/rules/madam"),
        "integer Madam rounds half away from zero",
    ),
    Mutant(
        "kernels/cpu/ir/rows.py", "then[row], u - step, low", "then[row], u - step + 1, low",
        _in("kernels/tile"),
        "the first products of a row take the panel's rows of their neighbours",
    ),
    Mutant(
        "kernels/cpu/gemm/bounds.py", "    fill(careful, 0, careful.size, 0)\n", "", _in("kernels/tile"),
        "rows that were replayed once are replayed in the following chunks too",
    ),
    Mutant(
        "kernels/cpu/gemm/bounds.py", "fill(near, i * width, (i + 1) * width, start_of(near))", "pass",
        _in("kernels/tile"),
        "what the plain adds made of a replayed row is added to it",
    ),
    Mutant(
        "kernels/cpu/ir/rows.py", "parts = [builder.shl(words, lane.constant(32)), words]",
        "parts = [words, builder.shl(words, lane.constant(32))]", _in("kernels/tile"),
        "64-bit lanes take the factors of neighbouring products",
    ),
    Mutant(
        "kernels/cpu/ir/add_terms.py", "_I32(every - 1))  # of 64 bits", "_I32(0))  # of 64 bits",
        _in("kernels/tile"),
        "64-bit sums are measured by their lower halves",
    ),
    Mutant(
        "kernels/operands.py", "reading = reading[0], reading[1][part]", "pass",
        _in("kernels/tile"),
        "a slab reads its gathered rows in the runs of the first",
    ),
    Mutant(
        "kernels/cpu/gemm/tile.py", "if bound[g] + top // 2 > top:", "if bound[g] > top:",
        _in("kernels/tile"),
        "a part of k is added to sums that it may carry out of the range",
    ),
    Mutant(
        "kernels/cpu/gemm/tile.py", "top // 2 if trial else top,", "top,", _in("kernels/tile"),
        "a part of k may move a sum by more than half the range",
    ),
    Mutant(
        "kernels/cpu/gemm/packing.py", "place = base + (k0 - begin) * k_step",
        "place = base + k0 * k_step", _in("kernels/tile"),
        "a packing task reads the codes of the first products",
    ),
    Mutant(
        "kernels/cpu/gemm/packing.py", "runs[first:last] if reading[0] == ALONG_K else runs",
        "runs", _in("kernels/tile"),
        "a piece of k is read in the runs of the first one",
    ),
    Mutant(
        "kernels/operands.py", "ends = self._ends[0] + by, self._ends[1] + by", "ends = self._ends",
        _in("kernels/tile"),
        "a shifted pattern is thought to lie where it was",
    ),
)  # fmt: skip
