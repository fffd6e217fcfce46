"""A `Workload` from a real PyTorch model: one training step is run on meta tensors and watched.

No values are computed, so a large network takes a second. Forward, loss and backward are run once
under a dispatch mode that sees every ATen operator; flow.py turns what it saw into words moved.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from ...lns.checks import require_kind
from ..checks import require_text
from .flow import Flow, Use
from .meta import (
    MAKES,
    batch_of,
    cross_entropy,
    first_line,
    flat,
    on_meta,
    shadow,
    stored_elements,
    words_each,
    words_of,
)
from .patches import Patch, plain_patch, spread_patch
from .vector_ops import ARITHMETIC_OF, LAYOUT, affine_extra
from .workload import Gemm, Workload

Loss = Callable[[Any], Tensor]


def trace_step(
    model: nn.Module,
    inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
    loss: Loss | None = None,
    name: str = "model",
) -> Workload:
    """Return the workload of one training step: forward, loss, backward, update.

    model: float32, not converted, in whatever mode it is (train() for training); it is copied and
    left as it was. inputs: the batch, one tensor, one per argument, or by name; only shapes and
    dtypes matter. loss: from the model's output to a scalar, its targets made on the output's
    device; None: cross-entropy of (..., classes) against class indices. Matrix
    products, convolutions and products of attention become GEMMs, everything else work of the
    vector unit; layers are named as in `model.named_modules()`.
    Raises ValueError where model or loss cannot run on meta tensors, layers run again in the
    backward pass (activation checkpointing), or the step has no GEMM.
    """
    require_kind("model", model, nn.Module)
    batch, named = batch_of(inputs)
    require_text("name", name)
    if loss is not None and not callable(loss):
        raise TypeError(f"loss must be a function of the output or None, got {loss!r}")
    twin = on_meta(model)
    shadows = [shadow(x) for x in batch]
    keywords = {key: shadow(x) for key, x in named.items()}
    watch = _Watch(twin)
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), watch.hooked():
        try:
            with watch:
                value = (loss or cross_entropy)(twin(*shadows, **keywords))
                watch.flow.phase = "backward"
                value.backward()
        except (RuntimeError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(
                "model and loss must run on meta tensors, which have shapes and no values, and "
                "give a scalar with a gradient, got "
                f"{type(error).__name__}: {first_line(error)}"
            ) from error
    trained = [p for p in twin.parameters() if p.grad is not None]
    sizes = [parameter.numel() for parameter in trained]
    return watch.flow.workload(name, sizes, watch.gradients(trained))


class _Watch(TorchDispatchMode):
    """Sees every operator of the step and tells the flow what it reads, computes and writes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.modules: list[str] = []
        self.flow = Flow()
        self.model = model
        self.alive: list[Any] = []  # storages: an address must not be used twice
        self.now: dict[int, int] = {}  # storage -> the tensor it holds
        for module_name, module in model.named_modules():
            for parameter in module.parameters(recurse=False):
                key = self._key(parameter)
                if key not in self.now:
                    layer = module_name or "model"
                    self.now[key] = self.flow.weight(layer, parameter.numel())
        for buffer in model.buffers():
            self.now.setdefault(self._key(buffer), self.flow.constant())

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """A context in which forward hooks keep the stack of modules that are running."""
        handles = []
        for name, module in self.model.named_modules():
            handles += [
                module.register_forward_pre_hook(lambda *_, name=name: self.enter(name)),
                module.register_forward_hook(lambda *_: self.leave(), always_call=True),
            ]
        yield
        for handle in handles:
            handle.remove()

    def enter(self, name: str) -> None:
        """A module's forward begins."""
        if self.flow.phase == "backward":
            raise ValueError(
                "model must not run layers again in the backward pass (activation checkpointing), "
                f"got {name or 'the model'}"
            )
        self.modules.append(name or "model")

    def gradients(self, parameters: Sequence[nn.Parameter]) -> list[tuple[int, int]]:
        """Return (parameter, its gradient) as the flow knows them."""
        keys = [(self._key(p), self._key(p.grad)) for p in parameters if p.grad is not None]
        return [(self.now[p], self.now[g]) for p, g in keys if p in self.now and g in self.now]

    def leave(self) -> None:
        """A module's forward has ended, well or not."""
        if self.modules:
            self.modules.pop()

    def _key(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        self.alive.append(storage)
        return int(storage._cdata)

    def _use(self, tensor: Tensor) -> Use:
        """What an operator reads: a tensor made before, or one from outside, as an input."""
        key = self._key(tensor)
        if key not in self.now:
            self.now[key] = self.flow.outside(stored_elements(tensor))
        return Use(self.now[key], tuple(tensor.shape), min(tensor.numel(), stored_elements(tensor)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and note it."""
        name = func.overloadpacket.__name__
        if self.flow.phase == "forward":
            self.flow.layer = self.modules[-1] if self.modules else "loss"
        tensors = [x for x in flat(args) if isinstance(x, Tensor)]
        uses = [self._use(x) for x in tensors] if name not in MAKES else []
        result = func(*args, **(kwargs or {}))
        outs = [x for x in flat((result,)) if isinstance(x, Tensor)]
        if name in _GEMMS:
            _GEMMS[name](self, args, outs)
        elif name in LAYOUT:
            self._layout(name, tensors, uses, outs)
        elif outs:
            self._vector(name, args, tensors, uses, outs)
        return result

    def _layout(
        self, name: str, tensors: list[Tensor], uses: list[Use], outs: list[Tensor]
    ) -> None:
        """A view or copy is the same tensor; a constant is one nobody pays for."""
        source = 1 if name == "copy_" and len(uses) > 1 else 0
        for out in outs:
            key = self._key(out)
            if name in MAKES or not uses:
                self.now[key] = self.flow.constant()
            elif name == "copy_" or key not in self.now:
                self.now[key] = uses[source].tensor

    def _vector(
        self, name: str, args: Any, tensors: list[Tensor], uses: list[Use], outs: list[Tensor]
    ) -> None:
        plain = name.removesuffix("_") if name not in ARITHMETIC_OF else name
        shapes = [use.shape for use in uses]
        counts = None
        if plain in ARITHMETIC_OF:
            counts = dict(ARITHMETIC_OF[plain](tuple(outs[0].shape), shapes))
            extra = affine_extra(plain, shapes, len(args) > 1 and isinstance(args[1], Tensor))
            for kind, count in extra.items():
                counts[kind] = counts.get(kind, 0) + count
        made = self.flow.vector(plain, uses, [words_of(out) for out in outs], counts)
        for out, tensor in zip(outs, made, strict=True):
            self.now[self._key(out)] = tensor

    # One method per GEMM operator: its operands as Gemm values, its results as tensors.

    def product(self, a: Tensor, b: Tensor, out: Tensor, count: int = 1) -> None:
        """(M, K) x (K, N), `count` times."""
        m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
        if not m * k * n * count:
            return
        first, second = self._use(a), self._use(b)
        gemm = Gemm("", "forward", m, n, k, count=count)
        words = (words_each(first.words, m * k, count), words_each(second.words, k * n, count))
        made = self.flow.gemm(gemm, first, second, words, words_of(out))
        self.now[self._key(out)] = made

    def convolution(self, args: Any, outs: list[Tensor]) -> None:
        """y = conv(x, w), as one GEMM a group: patches times filters."""
        x, w, bias, stride, _, dilation, transposed, _, groups = args[:9]
        if transposed:  # patches of the spread input
            patch = spread_patch(outs[0], x, w, stride, dilation)
            self._correlate(x, w, outs[0], w.shape[1] * groups, w.shape[0], groups, patch)
        else:
            patch = plain_patch(outs[0], x, w, stride, dilation)
            self._correlate(x, w, outs[0], w.shape[0], x.shape[1], groups, patch)
        if isinstance(bias, Tensor):
            self._add_bias(outs[0], bias)

    def _add_bias(self, out: Tensor, bias: Tensor) -> None:
        made = self.flow.vector(
            "add", [self._use(out), self._use(bias)], [words_of(out)], {"add": out.numel()}
        )
        self.now[self._key(out)] = made[0]

    def _correlate(
        self, x: Tensor, w: Tensor, out: Tensor, filters: int, channels: int, groups: int,
        patch: Patch | None,
    ) -> None:  # fmt: skip
        taps = prod(w.shape[2:])
        m = out.shape[0] * prod(out.shape[2:])
        if not m:
            return
        k = channels // groups * taps
        gemm = Gemm("", "forward", m, filters // groups, k, count=groups, a_patch=patch)
        a, b = self._use(x), self._use(w)
        words = (x.numel() // groups, w.numel() // groups)
        self.now[self._key(out)] = self.flow.gemm(gemm, a, b, words, words_of(out))

    def convolution_backward(self, args: Any, outs: list[Tensor]) -> None:
        """dx, dw and the bias's sum, each where it is asked for."""
        dy, x, w, _, stride, _, dilation, transposed, _, groups, mask = args
        make = plain_patch if transposed else spread_patch
        back = make(x, dy, w, stride, dilation)
        small, large = (x, dy) if transposed else (dy, x)
        own = plain_patch(small, large, w, stride, dilation)
        results = iter(outs)
        if mask[0]:
            out = next(results)
            filters = x.shape[1]
            self._correlate(dy, w, out, filters, dy.shape[1], groups, back)
        if mask[1]:
            out = next(results)
            places = prod((x if transposed else dy).shape[2:]) * dy.shape[0]
            spread, patched = (x, dy) if transposed else (dy, x)
            rows = spread.shape[1] // groups
            columns = w.numel() // groups // rows
            gemm = Gemm("", "dw", rows, columns, places, count=groups, b_patch=own)
            words = (spread.numel() // groups, patched.numel() // groups)
            a, b = self._use(spread), self._use(patched)
            self.now[self._key(out)] = self.flow.gemm(
                gemm, a, b, words, words_of(out), gradient=True
            )
        if mask[2]:
            out = next(results)
            sums = self.flow.vector("sum", [self._use(dy)], [words_of(out)], {"add": dy.numel()})
            self.now[self._key(out)] = sums[0]


def _matmul(watch: _Watch, args: Any, outs: list[Tensor]) -> None:
    a, b = args[:2]
    watch.product(a, b, outs[0], count=a.shape[0] if a.dim() == 3 else 1)


def _added(watch: _Watch, args: Any, outs: list[Tensor]) -> None:
    """Addmm and baddbmm: a product, then the vector unit adds."""
    _matmul(watch, args[1:], outs)
    watch._add_bias(outs[0], args[0])


def _vector_product(watch: _Watch, args: Any, outs: list[Tensor]) -> None:
    a, b = args[:2]
    watch.product(a if a.dim() == 2 else a.reshape(1, -1), b.reshape(-1, 1), outs[0])


_GEMMS: dict[str, Callable[[_Watch, Any, list[Tensor]], None]] = {
    "mm": _matmul,
    "bmm": _matmul,
    "addmm": _added,
    "baddbmm": _added,
    "mv": _vector_product,
    "dot": _vector_product,
    "convolution": _Watch.convolution,
    "convolution_backward": _Watch.convolution_backward,
}
