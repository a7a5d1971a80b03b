"""Minutes of random use in the window: no traceback, no refusal, no death and no growing process.

SEGWILD_MINUTES is how long (default 1.2), SEGWILD_SEED repeats a run: the choice at each step depends on the seed, the
number of the step and what is possible then. Every step is a line of `random-use.log` in pytest's temporary folder, and
so is what Blender holds at rest, five times after the warm-up.

In the warm-up every second step is one of a kind that has not been yet, where one is possible: what Blender keeps for
good when something is first used is no growth. With seed 41 (an asset's preview, edit mode, a saved file) it was 16 MB
over the first 100 steps, and nothing over 140 more.

At rest there is one fresh import in a new file, drawn, nothing to undo and no backend. What is compared is memory that
is in use, and what stays resident when the allocator has given back what is not (`holdings`): with the allocator of
Debian's Blender, which keeps what is freed, the same process grows from 761 to 872 MB in ten minutes (seed 31).
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import habits  # noqa: F401  (defines the actions)
from .conftest import begun, write_blobs
from .driver import BlenderError, Driver
from .holdings import ALLOCATOR, holdings, spoken, teach
from .person import ACTIONS, TEACH, Person
from .views import look_from, settled

MINUTES = float(os.environ.get("SEGWILD_MINUTES", "1.2"))
GROWTH = 0.05  # of the memory after the warm-up
WARM_UP = 0.3  # of the time
LOOKS = 4  # at what is held, after the warm-up
BAD = ("Traceback", "Error", "EXCEPTION_", "segfault", "Segmentation")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    """A Blender whose memory can be looked into."""
    yield from begun(tmp_path_factory.mktemp("random-use"), ALLOCATOR)


@pytest.fixture
def person(blender: Driver, tmp_path: Path) -> Iterator[Person]:
    workspaces = [tmp_path / f"{name}.segwild" for name in ("one", "two", "untouched")]
    given = os.environ.get("SEGWILD_SAMPLE")
    for workspace in workspaces:
        if given:
            shutil.copytree(given, workspace)
        else:
            write_blobs(workspace)
            write_looks(workspace)
    one = Person(blender, workspaces[:2], tmp_path)
    one.python = sys.executable
    blender.run(TEACH)
    teach(blender)
    blender.run(f"addon('ui.preferences').preferences().python = {sys.executable!r}")
    state = blender.until("state = addon('environment').status().state; result = state != 'absent' and state")
    if state != "stopped":
        pytest.skip("the tests' Python does not run where Blender runs: there is no backend that Blender could start")
    yield one
    blender.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    blender.run("addon('session').leave(); addon('session').links.clear()", view=False)


def write_looks(root: Path) -> None:
    import torch

    from backend.scene import Workspace
    from backend.train.appearance import Appearance, initial_shared
    from backend.train.relighting import LinearAppearance

    kind = LinearAppearance(4)
    names = tuple(photo.name for photo in Workspace.open(root).used_photos())
    shared = initial_shared(kind, len(names), 0)
    shared["offset"] = 0.3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    rows = {"response": kind.initial_rows(len(Workspace.open(root).gaussians()))["response"] + 0.1}
    Appearance(names, kind, shared, rows).save(Workspace.open(root))


def test_random_use_leaves_no_trace(person: Person, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGWILD_SEED", "0")) or int(time.time()) % 100_000
    see_everything(person)
    began, number, rests = time.monotonic(), 0, []
    counts: Counter[str] = Counter()
    with (tmp_path / "random-use.log").open("w", buffering=1) as log:
        log.write(f"seed {seed}\n")
        while (spent := time.monotonic() - began) < 60 * MINUTES:
            if spent > 60 * MINUTES * (WARM_UP + (1 - WARM_UP) * len(rests) / LOOKS):
                rests.append(at_rest(person))
                log.write(f"at rest {number} {spoken(rests[-1])}\n")
            number += 1
            known = set(counts) if not rests and number % 2 else set()
            counts[step(person, f"{seed}:{number}", log, number, spent, known)] += 1
        rests.append(at_rest(person))
        log.write(f"at rest {number} {spoken(rests[-1])}\n{number} steps: {dict(counts)}\n")
    print(f"\nseed {seed}, {number} steps of {len(counts)} kinds, at rest:", *map(spoken, rests), sep="\n")
    first, last = rests[0], rests[-1]
    for name in ("resident", "used"):
        if last[name] is not None:
            assert last[name] <= (1 + GROWTH) * first[name], f"{name} memory grew (seed {seed}):\n{spoken(last)}"
    for name in ("python_objects", "python_blocks"):
        assert last[name] <= (1 + GROWTH) * first[name], f"{name}: {first[name]}, then {last[name]} (seed {seed})"
    for name in ("objects", "pointclouds", "images", "collections", "layers", "python_threads", "open_files"):
        assert last[name] == first[name], f"{name}: {first[name]}, then {last[name]} (seed {seed})"


def see_everything(person: Person) -> None:
    """Once what Blender keeps for good when it is first used."""
    at_rest(person)
    for kind in ("WIREFRAME", "SOLID"):
        person.blender.run(f"bpy.context.space_data.shading.type = {kind!r}")
        settled(person.blender)
    for source in ("region_quadview()", "region_quadview()", "area_split(direction='VERTICAL', factor=0.5)"):
        person.blender.run(f"bpy.ops.screen.{source}")
        settled(person.blender)
    person.blender.run("bpy.ops.segwild.viewport_image(size=0.5)")
    # And what the backend compiles when it is first used: no step of a person's should wait for that.
    person.blender.run("bpy.ops.segwild.start_backend()")
    person.blender.until("result = addon('work').link_of(bpy.context).running")
    person.blender.run("""
        told, asking = [], addon('protocol.questions').Prepare()
        addon('work').link_of(bpy.context).ask(asking, told.append)
        addon('session').wake()
    """)
    person.blender.until("result = bool(told)", secs=300)


def step(person: Person, choice: str, log: Any, number: int, spent: float, known: Collection[str] = ()) -> str:
    """One action that is possible now, if possible none of the known, with a look at what Blender says afterwards."""
    person.random.seed(choice)
    facts = person.facts()
    possible = [each for each in ACTIONS if each.when(facts)]
    possible = [each for each in possible if each.name not in known] or possible
    chosen = person.random.choices(possible, [each.weight for each in possible])[0]
    log.write(f"{number:4} {spent:6.1f} s {facts['memory']:7.1f} MB  {chosen.name} ")
    before = len(printed(person.blender))
    try:
        log.write(chosen.do(person, facts) + "\n")
        time.sleep(person.random.choice([0, 0, 0.1, 0.5]))
        after = person.facts()
    except (BlenderError, AssertionError) as error:
        raise AssertionError(f"step {choice} {chosen.name}: {error}\n{facts}") from error
    said = printed(person.blender)[before:]
    assert not after["trouble"], f"step {choice} {chosen.name}: {after['trouble']}"
    assert not any(word in said for word in BAD), f"step {choice} {chosen.name} printed:\n{said[-3000:]}"
    return chosen.name


def printed(blender: Driver) -> str:
    return (blender.folder / "blender.log").read_text(errors="replace")


def at_rest(person: Person) -> dict[str, Any]:
    """What Blender holds with one fresh import in a new file, drawn, nothing to undo and no backend.

    What was imported at the last rest may have been edited since: the workspace is laid anew.
    """
    blender, workspace = person.blender, person.folder / "at-rest.segwild"
    blender.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    blender.until("result = not any(one.busy or one.running for one in addon('session').links.values())")
    shutil.rmtree(workspace, ignore_errors=True)
    shutil.copytree(person.folder / "untouched.segwild", workspace)
    blender.run(f"""
        for ob in list(bpy.data.objects):
            bpy.data.objects.remove(ob)
        assert bpy.ops.segwild.import_workspace(directory={str(workspace)!r}) == {{'FINISHED'}}
    """)
    look_from(blender, (0.0, -2.6, 1.3), (0, 0, 0.2))
    settled(blender)
    blender.until("result = not any(one.busy or one.running for one in addon('session').links.values())")
    return holdings(blender)
