import subprocess
import sys

import pytest

import berth


def test_import_berth_alone_loads_nothing_heavy() -> None:
    heavy = "{'aiohttp', 'kubernetes', 'pydantic', 'numpy', 'ortools', 'asyncio'}"
    program = f"import sys, berth; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", berth.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(berth, name) is not None
    assert name in dir(berth)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Sesion'"):
        berth.Sesion  # noqa: B018
