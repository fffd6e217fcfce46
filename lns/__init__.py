"""Logarithmic numbers, exactly: formats, codes, arithmetic and the datapath's frozen values."""

from .arith import absolute, add, compare, div, mul, neg, requantise, sqrt, square, sub
from .array import CodeArray, FloatArray, IntArray, LNSArray
from .checks import NonFiniteError
from .codec import decode, encode
from .datapath import Accumulator, Antilog, AnyDatapath, Datapath, FloatDatapath, IntDatapath
from .float_codec import amax_offset
from .format import (
    BF16,
    FORMATS,
    FP8_E4M3,
    FP8_E5M2,
    FP16,
    FP32,
    INT8,
    LNS8,
    LNS16_UPDATE,
    FloatFormat,
    Format,
    IntFormat,
    LNSFormat,
    get_format,
)
from .gauss import max_error
from .mx import MXArray, decode_mx, encode_mx
from .mx_format import MX_FORMATS, MXFormat, get_mx_format
from .sums import dot, total

__all__ = [
    "BF16",
    "FORMATS",
    "FP8_E4M3",
    "FP8_E5M2",
    "FP16",
    "FP32",
    "INT8",
    "LNS8",
    "LNS16_UPDATE",
    "MX_FORMATS",
    "Accumulator",
    "Antilog",
    "AnyDatapath",
    "CodeArray",
    "Datapath",
    "FloatArray",
    "FloatDatapath",
    "FloatFormat",
    "Format",
    "IntArray",
    "IntDatapath",
    "IntFormat",
    "LNSArray",
    "LNSFormat",
    "MXArray",
    "MXFormat",
    "NonFiniteError",
    "absolute",
    "add",
    "amax_offset",
    "compare",
    "decode",
    "decode_mx",
    "div",
    "dot",
    "encode",
    "encode_mx",
    "get_format",
    "get_mx_format",
    "max_error",
    "mul",
    "neg",
    "requantise",
    "sqrt",
    "square",
    "sub",
    "total",
]
