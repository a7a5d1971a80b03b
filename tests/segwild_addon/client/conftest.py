"""Nothing may be left after any test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nothing_is_left(nothing_is_left: None) -> None:
    """The fixture of that name, for every test here."""
