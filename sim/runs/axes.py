"""Axes of a sweep as users write them: numbers, lists, ranges and names."""

from typing import Any

NONE = "none"
_LONGEST_RANGE = 256  # values in one a:b; a slip such as 1:100000 is refused, not expanded


def parse_names(name: str, value: Any) -> tuple[str, ...]:
    """Return the names of a list or of text such as `fp8,bf16`; formats may be `none`, the empty
    list."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise TypeError(f"{name} must be a list of names, got {value!r}")
    names = tuple(item.strip() for item in items)
    names = () if name == "formats" and names == (NONE,) else tuple(dict.fromkeys(names))
    if not names and name != "formats":
        raise ValueError(f"{name} must hold at least one name, got {value!r}")
    return names


def parse_axis(name: str, value: Any, word: str | None = None) -> tuple[Any, ...]:
    """Return the integers of a number, a list, or text such as `8`, `4,6,8`, `4:8`, `4:6,9`.

    Ranges include both ends. `none` is the empty axis of exponent_bits; `word` (if given) stands
    for None, the default of the format.
    """
    if name == "exponent_bits" and value in (NONE, [], ()):
        return ()
    items = value.split(",") if isinstance(value, str) else value
    items = items if isinstance(items, list | tuple) else [items]
    numbers: list[int | None] = []
    for item in items:
        if word is not None and (item == word or item is None):
            numbers.append(None)
        else:
            numbers.extend(_span(name, item, value))
    if not numbers:
        raise ValueError(f"{name} must hold at least one number, got {value!r}")
    return tuple(dict.fromkeys(numbers))


def _span(name: str, item: Any, value: Any) -> range:
    """The integers of one item: 8, `8` or `4:8`."""
    rule = f"{name} must be a number, a list 4,6,8 or a range 4:8, got {value!r}"
    if isinstance(item, bool) or not isinstance(item, int | str):
        raise TypeError(rule)
    try:
        ends = [int(part) for part in str(item).split(":")]
    except ValueError:
        raise ValueError(rule) from None
    if len(ends) > 2 or not 0 <= ends[-1] - ends[0] < _LONGEST_RANGE:
        raise ValueError(rule)
    return range(ends[0], ends[-1] + 1)
