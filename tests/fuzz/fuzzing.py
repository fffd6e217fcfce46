"""What a fuzz target may do: give an answer, or refuse in the project's own words, in time.

`attempt` runs one input. Allowed are an answer and the documented exceptions with a message that
says what must be (`<name> must be <rule>, got <value>`); a TypeError of Python's own for a wrong
operation inside is a defect, and so is every other exception, a warning, an input array that was
changed, or more than LIMIT_SECONDS. Every input is counted by target and outcome; with
LNSIM_FUZZ_EXAMPLES set, conftest.py prints the counts.
"""

import os
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings

EXAMPLES = int(os.environ.get("LNSIM_FUZZ_EXAMPLES", "0"))  # 0: the ordinary test run's few
SHRINK = os.environ.get("LNSIM_FUZZ_SHRINK", "1") != "0"  # 0: a failure at once, as it was met
LIMIT_SECONDS = 20.0
LONGEST_MESSAGE = 20_000  # characters; an array or a line of a file may be in it
REFUSALS = (ValueError, TypeError, OverflowError, NotImplementedError)
RULE = re.compile(r"\b(must|needs|cannot|unrecognized|expected|required|invalid)\b")
COUNTS: dict[str, Counter[str]] = {}


def fuzz(ordinary: int, weight: float = 1.0) -> settings:
    """Settings of a target: `ordinary` examples, or LNSIM_FUZZ_EXAMPLES * weight if it is set."""
    examples = max(1, int(EXAMPLES * weight)) if EXAMPLES else ordinary
    slow = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
    phases = (Phase.explicit, Phase.reuse, Phase.generate) + ((Phase.shrink,) if SHRINK else ())
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow, phases=phases)


class HangError(Exception):
    """An input took longer than LIMIT_SECONDS."""


@contextmanager
def limited(seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """Raise HangError in this thread after `seconds`."""

    def stop(number: int, frame: Any) -> None:
        raise HangError(f"an input took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Answer:
    """A call that was not refused."""

    value: Any


def count(target: str, outcome: str) -> None:
    """Note one input."""
    COUNTS.setdefault(target, Counter())[outcome] += 1


def attempt(
    target: str,
    call: Callable[[], Any],
    inputs: Any = (),
    refusals: tuple[type[BaseException], ...] = REFUSALS,
    rule: re.Pattern[str] = RULE,
    seconds: float = LIMIT_SECONDS,
) -> Answer | None:
    """Return the call's answer, None where it refused its input; anything else fails the test.

    inputs: what must be the same afterwards, arrays among them.
    """
    before = [(array, array.tobytes(), array.dtype, array.shape) for array in arrays_in(inputs)]
    try:
        with limited(seconds), warnings.catch_warnings():
            warnings.simplefilter("error")
            value = call()
    except refusals as error:
        _judge(target, error, rule)
        return None
    finally:
        for array, content, dtype, shape in before:
            assert (array.dtype, array.shape) == (dtype, shape), f"{target} changed an input"
            assert array.tobytes() == content, f"{target} changed an input array"
    count(target, "answer")
    return Answer(value)


def _judge(target: str, error: BaseException, rule: re.Pattern[str]) -> None:
    """A refusal says in few words what must be."""
    kind, text = type(error).__name__, str(error)
    if not rule.search(text) or len(text) > LONGEST_MESSAGE:
        raise AssertionError(f"{target}: {kind} must say what must be, got {text}") from error
    count(target, kind)


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """Yield the numpy arrays in a value: arrays, code arrays, lists, tuples, dicts."""
    if isinstance(value, np.ndarray):
        if not value.dtype.hasobject:
            yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from arrays_in(each)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))
    elif hasattr(value, "code") and hasattr(value, "offset"):
        yield from arrays_in([value.code, value.offset])


def report() -> list[str]:
    """Return the counts as lines of text: a target each, then all."""
    width = max(map(len, COUNTS), default=0)
    lines, total = [], Counter[str]()
    for target, outcomes in sorted(COUNTS.items()):
        total += outcomes
        parts = ", ".join(f"{name} {number:,}" for name, number in outcomes.most_common())
        lines.append(f"{target:<{width}} {outcomes.total():>9,}: {parts}")
    parts = ", ".join(f"{name} {number:,}" for name, number in total.most_common())
    lines.append(f"{total.total():,} inputs over {len(COUNTS)} targets: {parts}")
    return lines
