"""The protocol's page says what the code says, and nothing in the protocol is without a partner."""

from __future__ import annotations

import dataclasses
import importlib
import re
import typing
from typing import Any

from backend.packaging.protocol_page import PAGE, ROUTES, page
from backend.service.app import PAGE as BROWSER_PAGE
from backend.service.app import REMOTE_VERBS, application
from backend.verbs import VERBS
from segwild_addon.client.stream import KINDS
from segwild_addon.protocol import events, questions


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m backend.packaging.protocol_page"


def test_every_field_of_every_message_is_told() -> None:
    text = page()
    kinds = (*events.EVENTS, *questions.QUESTIONS, *(VERBS[verb][0] for verb in REMOTE_VERBS))
    for kind in kinds:
        section = text.partition(f"{kind.__name__}`\n" if f"### `{kind.__name__}`" in text else f"({kind.__name__})\n")[
            2
        ]
        section = section.partition("\n### ")[0]
        assert all(f"| `{field.name}` |" in section for field in dataclasses.fields(kind)), kind


def test_every_route_is_told_and_no_other() -> None:
    service: Any = None
    gate = application(service, "token", frozenset())
    found = {
        (method, re.sub(r":\w+}", "}", route.path)) for route in gate.app.routes for method in route.methods - {"HEAD"}
    }
    assert found == set(ROUTES)


def test_every_verb_has_a_stage_that_takes_its_request() -> None:
    for verb, (kind, module) in VERBS.items():
        run = importlib.import_module(module).run
        assert typing.get_type_hints(run)["request"] is kind, verb
    assert set(REMOTE_VERBS) <= set(VERBS)


def test_every_event_has_its_readers() -> None:
    names = {kind.__name__ for kind in events.EVENTS}
    assert set(KINDS) == names
    told = BROWSER_PAGE.read_text(encoding="utf-8").partition("const told = {")[2].partition("\n};")[0]
    assert set(re.findall(r"^  (\w+)\(", told, re.MULTILINE)) == names
