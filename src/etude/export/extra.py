"""Libraries of the extra `export`, loaded when they are used."""

from importlib import import_module
from typing import Any

from etude.errors import ConfigurationError


def needed(module: str, what: str) -> Any:
    """A module of the extra.

    Raises `ConfigurationError` that says what needs it and how to install it.

    >>> needed("no_such_module", "A file of weights")
    Traceback (most recent call last):
    etude.errors.ConfigurationError: A file of weights needs the package no_such_module: pip \
install "etude[export]".
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ConfigurationError(
            f'{what} needs the package {package}: pip install "etude[export]".'
        ) from None
