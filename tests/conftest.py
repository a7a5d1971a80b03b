"""What every test may ask for: the real test photos and a windowed Blender, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

import backend  # noqa: F401  before any test imports torch, so that threads that wait sleep in tests too

# A busy machine is no failure: time is measured in benchmarks, not in property tests. Where CI is set, the
# examples are the same each time: new ones are for whoever can look into them.
hypothesis.settings.register_profile("segwild", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("segwild")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--test-data",
        default=os.environ.get("SEGWILD_TEST_DATA", ""),
        help="folder of real photo sets with masks (or SEGWILD_TEST_DATA)",
    )


@pytest.fixture(scope="session")
def test_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real photo sets; the test is skipped without one."""
    folder = request.config.getoption("--test-data")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real photos: set SEGWILD_TEST_DATA to a folder of photo sets")
    return Path(folder)
