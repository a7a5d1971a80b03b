"""What tests of the viewport may ask for: an imported scene that somebody clicks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Address

COUNT = 2500  # as the fake has it


@pytest.fixture
def sent(blender: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is uploaded, without a graphics card."""
    from segwild_addon.viewport import buffers

    log: list[str] = []

    def uploaded(flat: Any, size: Any, form: str, kind: str) -> SimpleNamespace:
        log.append(kind)
        return SimpleNamespace(flat=np.array(flat), size=size)

    monkeypatch.setattr(buffers, "uploaded", uploaded)
    return log


@pytest.fixture
def clicking(
    nothing_is_left: None, blender: Any, fake: Any, make_workspace: Any, pump_until: Callable[..., Any]
) -> Iterator[SimpleNamespace]:
    """An imported scene whose backend is the fake, and what was highlighted."""
    from segwild_addon import session
    from segwild_addon.data import scenes
    from segwild_addon.data.steps import finished
    from segwild_addon.viewport import draw, selection

    root, _ = make_workspace("fake", count=COUNT)
    scene = finished(scenes.importing(root, lambda sentence: None))
    shown: list[Any] = []
    real = draw.highlight
    draw.highlight = lambda uuid, chosen: shown.append(
        None if chosen is None else sorted(int(id_) for ids in chosen.values() for id_ in ids)
    )
    link = session.link(root)

    until = partial(pump_until, facts=lambda: (link.status, shown, selection.refusal()))

    def click(x: float, positive: bool = True, holder: str = "") -> None:
        hit = SimpleNamespace(
            position=np.array([x, 0, 0]),
            eye=np.array([0, 0, 5.0]),
            pixel=0.01,
            row=1,
            scene_uuid=scene.segwild.uuid,
            object_uuid=holder,
            beside=np.zeros(3),
        )
        selection.add_click(hit, positive)

    def connect() -> None:
        link.start(Address("127.0.0.1", fake.port, fake.token))
        until(lambda: link.running)

    yield SimpleNamespace(
        selection=selection, scene=scene, shown=shown, until=until, click=click, connect=connect, link=link, fake=fake
    )
    draw.highlight = real
