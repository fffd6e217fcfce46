"""Results kept by the identity of frozen arguments: quicker than to hash a datapath of many fields.

A training step asks for the same few tables thousands of times, always with the same objects.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., Any])


def by_identity(frozen: int, most: int = 1024) -> Callable[[_Function], _Function]:
    """Decorate a function whose first `frozen` arguments are immutable and the rest are numbers.

    At most `most` results are kept, then all are forgotten. Equal objects that are not the same one
    are asked for anew.
    """

    def decorate(function: _Function) -> _Function:
        kept: dict[tuple[Any, ...], tuple[Any, Any]] = {}

        @wraps(function)
        def remembered(*arguments: Any) -> Any:
            key = (*map(id, arguments[:frozen]), *arguments[frozen:])
            found = kept.get(key)
            if found is None:
                result = function(*arguments)
                if len(kept) >= most:
                    kept.clear()
                # The arguments are held, so that no other object gets their identity.
                found = kept[key] = result, arguments
            return found[0]

        return cast(_Function, remembered)

    return decorate
