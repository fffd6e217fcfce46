"""A `Workload` from a real PyTorch model: one training step is run on meta tensors and watched.

No values are computed, so a large network takes a second. Forward, loss and backward are run once
under a dispatch mode that sees every ATen operator; flow.py turns what it saw into words moved.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from .flow import Flow, Use
from .vector_ops import ARITHMETIC_OF, LAYOUT, affine_extra
from .workload import Gemm, Workload

Loss = Callable[[Any], Tensor]


def trace_step(
    model: nn.Module,
    inputs: Tensor | Sequence[Tensor],
    loss: Loss | None = None,
    name: str = "model",
) -> Workload:
    """Return the workload of one training step: forward, loss, backward, update.

    model: float32, not converted, in whatever mode it is (train() for training); it is copied and
    left as it was. inputs: the batch, one tensor or one per argument; only shapes and dtypes
    matter. loss: from the model's output to a scalar; None: cross-entropy of (..., classes) against
    class indices. Matrix products, convolutions and products of attention become GEMMs, everything
    else work of the vector unit; layers are named as in `model.named_modules()`.
    Raises ValueError where the model cannot run on meta tensors or the step has no GEMM.
    """
    twin = _on_meta(model)
    batch = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    shadows = [torch.empty_like(x, device="meta") for x in batch]
    watch = _Watch(twin)
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), watch.hooked():
        try:
            with watch:
                value = (loss or cross_entropy)(twin(*shadows))
                watch.flow.phase = "backward"
                value.backward()
        except NotImplementedError as error:
            raise ValueError(f"model must run on meta tensors, got {_line(error)}") from error
    parameters = sum(p.numel() for p in twin.parameters() if p.grad is not None)
    return watch.flow.workload(name, parameters)


def cross_entropy(output: Tensor) -> Tensor:
    """Return the cross-entropy of (..., classes) against class indices."""
    scores = output.reshape(-1, output.shape[-1])
    targets = torch.zeros(scores.shape[0], dtype=torch.long, device=output.device)
    return nn.functional.cross_entropy(scores, targets)


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy on the meta device; tied tensors stay tied, which `Module.to` would undo."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        shadow = torch.empty_like(parameter, device="meta")
        memo[id(parameter)] = nn.Parameter(shadow, requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(model, memo)


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


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
                module.register_forward_pre_hook(lambda *_, name=name: self.modules.append(name)),
                module.register_forward_hook(lambda *_: self.leave(), always_call=True),
            ]
        yield
        for handle in handles:
            handle.remove()

    def leave(self) -> None:
        """A module's forward has ended."""
        self.modules.pop()

    def _key(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        self.alive.append(storage)
        return int(storage._cdata)

    def _use(self, tensor: Tensor) -> Use:
        """What an operator reads: a tensor made before, or one from outside, as an input."""
        key = self._key(tensor)
        if key not in self.now:
            self.now[key] = self.flow.outside(_stored(tensor))
        return Use(self.now[key], tuple(tensor.shape), min(tensor.numel(), _stored(tensor)))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and note it."""
        name = func.overloadpacket.__name__
        if self.flow.phase == "forward":
            self.flow.layer = self.modules[-1] if self.modules else "loss"
        tensors = [x for x in _flat(args) if isinstance(x, Tensor)]
        uses = [self._use(x) for x in tensors] if name not in _MAKES else []
        result = func(*args, **(kwargs or {}))
        outs = [x for x in _flat((result,)) if isinstance(x, Tensor)]
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
            if name in _MAKES or not uses:
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
        made = self.flow.vector(plain, uses, [_words(out) for out in outs], counts)
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
        words = (first.words // count or 1, second.words // count or 1)
        made = self.flow.gemm(gemm, first, second, words, _words(out))
        self.now[self._key(out)] = made

    def convolution(self, args: Any, outs: list[Tensor]) -> None:
        """y = conv(x, w), as one GEMM a group: patches times filters."""
        x, w, bias = args[:3]
        if args[6]:  # transposed: patches of the spread input
            self._correlate(x, x, w, outs[0], w.shape[1] * args[8], w.shape[0], args[8])
        else:
            self._correlate(x, x, w, outs[0], w.shape[0], x.shape[1], args[8])
        if isinstance(bias, Tensor):
            self._add_bias(outs[0], bias)

    def _add_bias(self, out: Tensor, bias: Tensor) -> None:
        made = self.flow.vector(
            "add", [self._use(out), self._use(bias)], [_words(out)], {"add": out.numel()}
        )
        self.now[self._key(out)] = made[0]

    def _correlate(
        self, x: Tensor, operand: Tensor, w: Tensor, out: Tensor,
        filters: int, channels: int, groups: int,
    ) -> None:  # fmt: skip
        taps = _size(w.shape[2:])
        m = out.shape[0] * _size(out.shape[2:])
        if not m:
            return
        gemm = Gemm("", "forward", m, filters // groups, channels // groups * taps, count=groups)
        a, b = self._use(operand), self._use(w)
        words = (x.numel() // groups, w.numel() // groups)
        self.now[self._key(out)] = self.flow.gemm(gemm, a, b, words, _words(out))

    def convolution_backward(self, args: Any, outs: list[Tensor]) -> None:
        """dx, dw and the bias's sum, each where it is asked for."""
        dy, x, w = args[:3]
        transposed, groups, mask = args[7], args[9], args[10]
        results = iter(outs)
        if mask[0]:
            out = next(results)
            filters = x.shape[1]
            self._correlate(dy, dy, w, out, filters, dy.shape[1], groups)
        if mask[1]:
            out = next(results)
            places = _size((x if transposed else dy).shape[2:]) * dy.shape[0]
            spread, patched = (x, dy) if transposed else (dy, x)
            rows = spread.shape[1] // groups
            gemm = Gemm("", "dw", rows, w.numel() // groups // rows, places, count=groups)
            words = (spread.numel() // groups, patched.numel() // groups)
            a, b = self._use(spread), self._use(patched)
            self.now[self._key(out)] = self.flow.gemm(gemm, a, b, words, _words(out), weight=w)
        if mask[2]:
            out = next(results)
            made = self.flow.vector("sum", [self._use(dy)], [_words(out)], {"add": dy.numel()})
            self.now[self._key(out)] = made[0]


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
_MAKES = frozenset(
    f"{prefix}{name}"
    for name in ("empty", "zeros", "ones", "full")
    for prefix in ("", "new_")
) | {f"{name}_like" for name in ("empty", "zeros", "ones", "full")} | {
    "arange", "eye", "scalar_tensor", "empty_strided", "new_empty_strided",
}  # fmt: skip


def _flat(values: Any) -> list[Any]:
    """Arguments, those in lists and tuples included."""
    flat: list[Any] = []
    for value in values:
        flat += _flat(value) if isinstance(value, list | tuple) else [value]
    return flat


def _size(shape: Sequence[int]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def _stored(tensor: Tensor) -> int:
    """Elements its storage holds: fewer than numel() where it is expanded."""
    return int(tensor.untyped_storage().nbytes() // tensor.element_size())


def _words(tensor: Tensor) -> int:
    """Words of the vector unit it takes: 32 bools fit in one."""
    count = min(tensor.numel(), _stored(tensor))
    return -(-count // 32) if tensor.dtype == torch.bool else count
