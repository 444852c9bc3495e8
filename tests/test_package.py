"""The package imports, and says its version."""

import etude


def test_version_is_the_installed_one():
    from importlib.metadata import version

    assert etude.__version__ == version("etude")
