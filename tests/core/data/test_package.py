from __future__ import annotations

import subprocess
import sys

import pytest

import gencore.data


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, gencore.data; heavy = {'torch', 'numpy', 'PIL', 'sklearn', 'huggingface_hub'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "gencore.data.open_source('digits', image_size=16);"
        "light = {'PIL', 'sklearn', 'huggingface_hub'}; assert not light & set(sys.modules), light & set(sys.modules);"
        "assert callable(gencore.data.digits) and callable(gencore.data.mnist) and callable(gencore.data.arrays)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", gencore.data.__all__)
def test_public_names_resolve_and_are_documented(name: str) -> None:
    assert getattr(gencore.data, name).__doc__
    assert name in dir(gencore.data)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="digit'"):
        gencore.data.digit
