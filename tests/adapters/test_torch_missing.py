"""Without torch, only what needs it says so."""

import sys

import pytest

import etude as et


def test_a_module_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(et.ModelError, match=r"pip install 'etude\[torch\]'"):
        et.torch_module(None, None)
