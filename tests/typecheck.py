"""The run-time checker of annotations: beartype, in which an int is a float as in PEP 484."""

from beartype import BeartypeConf, beartype

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))
_known = {}


def checked(function):
    """Checks `function`, which jaxtyping writes for a signature and gives no body.

    A function inside another is defined with every call of the outer one. Its checker depends on
    the signature alone; to write it anew each time took an eighth of the time of the tests.
    """
    annotations = tuple(function.__annotations__.items())
    # Defaults are checked here, once; and a shape is another class each time that it is written.
    if function.__defaults__ or function.__kwdefaults__ or "jaxtyping" in repr(annotations):
        return _check(function)
    signature = (function.__module__, function.__qualname__, function.__code__, annotations)
    try:
        found = _known.get(signature)
    except TypeError:  # an annotation without a hash
        return _check(function)
    if found is None:
        found = _known[signature] = _check(function)
    return found
