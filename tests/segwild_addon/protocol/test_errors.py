"""Errors are sentences with a next step, and stay so across processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from segwild_addon.protocol.errors import InputError, ProtocolError, ResourceError, SegWildError, SetupError

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
