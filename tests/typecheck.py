"""The run-time checker of annotations, as jaxtyping's import hook puts it on every function.

jaxtyping writes two functions for every one that it checks, and beartype two more. A function
inside another is defined anew with every call of the outer one, and to write its checker each time
took a sixth of the time of the tests. Here it is written once for each piece of source, when that
is first called.
"""

import functools
import inspect
import threading
import types

import jaxtyping
from beartype import BeartypeConf, beartype

#: An int is a float, as in PEP 484.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_jaxtyped = jaxtyping.jaxtyped
_written = {}


class _Called(threading.local):
    """The functions whose calls are being checked in this thread, the innermost last."""

    def __init__(self):
        self.functions = []


_called = _Called()


def jaxtyped(fn=None, **options):
    """As that of jaxtyping, with one checker for all functions of the same source and types."""
    if fn is None and options:
        return functools.partial(jaxtyped, **options)
    if not isinstance(fn, types.FunctionType) or options.get("typechecker") is None:
        return _jaxtyped(fn, **options)
    checker = None

    @functools.wraps(fn)
    def call(*args, **kwargs):
        __tracebackhide__ = True
        nonlocal checker
        if checker is None:
            checker = _checker(fn, options)
        functions = _called.functions
        depth = len(functions)
        functions.append(fn)
        try:
            return checker(*args, **kwargs)
        finally:
            del functions[depth:]

    return call


def _checker(fn, options):
    defaults = *(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()
    key = fn.__code__, *map(_known, fn.__annotations__.values()), *map(id, defaults)
    try:
        found = _written.get(key)
    except TypeError:  # an annotation without a hash
        return _jaxtyped(fn, **options)
    if found is None:
        # The defaults stay: their numbers are in the key.
        found = _written[key] = _jaxtyped(_stand_in(fn), **options), defaults
    return found[0]


def _known(kind):
    """An annotation as a part of a key: a shape is another class each time that it is written."""
    return repr(kind) if "jaxtyping" in repr(kind) else kind


def _stand_in(fn):
    """A function with the name and the signature of `fn` that calls the one being checked."""
    called = _called

    def call(*args, **kwargs):
        return called.functions[-1](*args, **kwargs)

    # Annotations that are strings are read where `fn` stands.
    found = types.FunctionType(call.__code__, fn.__globals__, fn.__name__, None, call.__closure__)
    found.__module__, found.__qualname__ = fn.__module__, fn.__qualname__
    found.__signature__ = inspect.signature(fn)
    return found


def install():
    """Checks every annotation of the package, from its first import on."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("etude", "typecheck.checked")
