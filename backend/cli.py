"""The `segwild` command: a verb and its options into one stage's request.

Progress goes to stderr, the result to stdout (one JSON line with --json). Exits 0, 1 after a failure told
in a sentence, 2 for wrong usage, 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import typing
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from backend.progress import Cancelled
from backend.terminal import TerminalProgress, print_error, print_result
from backend.verbs import REPLACING, VERBS, WRITING
from segwild_addon.protocol.errors import SegWildError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    words = [word for word in words if word != "--json"]
    if not words or (words[0] in VERBS and words[0] not in ("demo", "doctor") and len(words) == 1):
        words.append("--help")
    request = _parsed(words)
    stage = importlib.import_module(VERBS[_verb_of(request)][1])
    errors, output = Console(stderr=True), Console()
    with TerminalProgress(errors) as progress:
        try:
            with _turn(request):
                result = stage.run(request, progress)
        except (KeyboardInterrupt, Cancelled):
            progress.__exit__()
            errors.print("Stopped. What was finished is kept; run the same command to go on.")
            return 130
        except Exception as trouble:
            error = _told(trouble)
            if error is None:
                raise
            progress.__exit__()
            print_error(error, errors)
            if as_json:
                sys.stdout.write(
                    json.dumps({"error": error.code, "sentence": error.sentence, "hint": error.hint}) + "\n"
                )
            return 1
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        print_result(result, output)
    return 0


def _told(error: Exception) -> SegWildError | None:
    """What a person is told; None for a mistake of ours, which is shown as it is."""
    from backend.jobs.trouble import as_ours

    return error if isinstance(error, SegWildError) else as_ours(error)


def _turn(request: Any) -> AbstractContextManager[None]:
    """The scene, held for a command that writes into it."""
    verb = _verb_of(request)
    if verb not in WRITING or (verb == "objects" and request.action == "list"):
        return nullcontext()
    from backend.scene.turn import taken  # numpy: not for --help

    field = next(field for field in dataclasses.fields(VERBS[verb][0]) if field.metadata.get("scene"))
    return taken(getattr(request, field.name), alone=verb in REPLACING)


def _parsed(words: list[str]) -> Any:
    """The request that the words spell. Exits with 2 on wrong usage, with 0 after --help."""
    commands = {verb: _command_type(request) for verb, (request, _) in VERBS.items()}
    return tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="segwild",
        description="Tourist photos to 3D Gaussians whose objects can be clicked, re-lit and exported.",
        args=words,
        config=(tyro.conf.UseAppendAction, tyro.conf.FlagCreatePairsOff),
    )


def _verb_of(request: Any) -> str:
    return next(verb for verb, (kind, _) in VERBS.items() if isinstance(request, kind))


def _command_type(request: type) -> type:
    """The request as tyro wants to see it: a subclass whose fields carry help, name and position."""
    hints = typing.get_type_hints(request)
    fields: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(request):
        kind = hints[field.name]
        help_text = field.metadata.get("help", "")
        if field.metadata.get("positional"):
            metavar = field.name.upper() if kind is Path else None
            annotated: Any = tyro.conf.Positional[Annotated[kind, tyro.conf.arg(help=help_text, metavar=metavar)]]
        else:
            annotated = Annotated[kind, tyro.conf.arg(help=help_text, name=field.name.rstrip("_").replace("_", "-"))]
        default = field.default if field.default is not dataclasses.MISSING else dataclasses.field()
        fields.append((field.name, annotated, default))
    made = dataclasses.make_dataclass(request.__name__, fields, bases=(request,), frozen=True)
    made.__doc__ = request.__doc__
    return made


if __name__ == "__main__":
    sys.exit(main())
