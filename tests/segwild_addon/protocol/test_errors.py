"""Errors are sentences with a next step, and stay so across processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from segwild_addon.protocol.errors import (
    InputError,
    ProtocolError,
    ResourceError,
    SegWildError,
    SetupError,
    kind_name,
    kind_named,
    refusal,
)

KINDS = [InputError, SetupError, ResourceError, ProtocolError]


@pytest.mark.parametrize("kind", [SegWildError, *KINDS])
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_the_way_to_another_process(kind: type[SegWildError], again) -> None:
    found = again(kind("no-photos", "There are no photos: /a.", "Add some."))
    assert type(found) is kind
    assert (found.code, found.sentence, found.hint) == ("no-photos", "There are no photos: /a.", "Add some.")


def test_an_error_reads_as_its_sentence_and_hint() -> None:
    assert str(InputError("a", "Wrong.", "Do this.")) == "Wrong. Do this."
    assert str(InputError("a", "Wrong.")) == "Wrong."
    assert InputError("a", "Wrong.", "Do this.").args == ("Wrong.",)


def test_one_handler_catches_them_all_and_each_kind_only_itself() -> None:
    for kind in KINDS:
        with pytest.raises(SegWildError):
            raise kind("a", "Wrong.")
        assert [other for other in KINDS if issubclass(kind, other)] == [kind]


@pytest.mark.parametrize("kind", [SegWildError, *KINDS])
def test_a_refusal_names_the_class_and_the_name_leads_back_to_it(kind: type[SegWildError]) -> None:
    class Inner(kind):  # type: ignore[misc, valid-type]
        """One that only its own module knows."""

    told = refusal(Inner("no-photos", "There are no photos: /a.", "Add some."))
    assert told == {
        "kind": kind.__name__,
        "error": "no-photos",
        "sentence": "There are no photos: /a.",
        "hint": "Add some.",
    }
    assert kind_named(kind_name(Inner("a", "Wrong."))) is kind


@pytest.mark.parametrize("name", ["", "Exception", "os.system", "__class__", "Any", None, 3, ["InputError"]])
def test_a_name_that_is_none_of_ours_is_the_root(name: object) -> None:
    assert kind_named(name) is SegWildError
