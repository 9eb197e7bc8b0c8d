"""Arrays and tables of other libraries as extension types of `payload`: numpy, pandas, pyarrow.

Packing never imports them: a value of theirs can only exist in a process that has. Unpacking imports what it needs and
says so in one sentence when it is not installed. Arrays of Python objects are refused: only pickle could carry them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .errors import ConfigError

Pack = Callable[[Any], bytes]
Unpack = Callable[[bytes], Any]

NDARRAY, SCALAR = 20, 21


class NotPlain(TypeError):
    """An array that holds something other than plain numbers, text, bytes or dates."""


def encode(value: Any, pack: Pack) -> tuple[int, bytes] | None:
    """The extension code and bytes of an array, scalar or table; None when it is none of them."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if type(value) in (numpy.ndarray, numpy.memmap):
            return NDARRAY, _pack_array(value, pack)
        if isinstance(value, numpy.generic):
            return SCALAR, _pack_array(numpy.asarray(value), pack)
        if isinstance(value, numpy.ndarray):
            raise NotPlain("make a plain array of it: numpy.asarray(value)")
    return None


def library(name: str) -> Any:
    """The library that a value to be read was made with."""
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(
            f"this value was made with {name}, which is not installed here; install it with `pip install {name}`"
        ) from None


def _pack_array(array: Any, pack: Pack) -> bytes:
    dtype = array.dtype
    described = dtype.str if dtype.fields is None else dtype.descr
    if dtype.hasobject:
        raise NotPlain("an array of Python objects cannot travel; give it a plain dtype, or a list of its elements")
    if library("numpy").dtype(described) != dtype:
        raise NotPlain(f"the dtype {dtype} is not one of numpy's own; convert it with astype()")
    return pack([described, list(array.shape), array.tobytes()])


def _unpack_array(data: bytes, unpack: Unpack) -> Any:
    numpy = library("numpy")
    described, shape, raw = unpack(data)
    dtype = numpy.dtype(described)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return numpy.frombuffer(bytearray(raw), dtype).reshape(shape)


DECODERS: dict[int, Callable[[bytes, Unpack], Any]] = {
    NDARRAY: _unpack_array,
    SCALAR: lambda data, unpack: _unpack_array(data, unpack)[()],
}
