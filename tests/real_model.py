"""The small real model of `benchmarks/_real_model.py`, for tests; skipped where its packages are not installed."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tests.paths import ROOT


def real_model() -> ModuleType:
    """The module that builds the model; the test is skipped, with the command that installs the packages."""
    spec = importlib.util.spec_from_file_location("benchmarks_real_model", ROOT / "benchmarks" / "_real_model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    try:
        module.language_model_file()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    return module
