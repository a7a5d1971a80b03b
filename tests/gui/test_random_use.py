"""Minutes of random use in the window: no traceback, no refusal, no death and no growing process.

SEGWILD_MINUTES is how long (default 1.2), SEGWILD_GROWTH by which share memory may grow (default 0.05), SEGWILD_SEED
repeats a run: the choice at each step depends on the seed, the number of the step and what is possible then. Every
step is a line of `random-use.log` in pytest's temporary folder.

What memory means here, and how that was found out: Blender allocates with oneTBB's allocator, which keeps what is
freed (`malloc_trim` does not reach it), so a process that holds no more than before may be larger. Seed 31 grew from
761 to 872 MB in ten minutes, and with glibc's in its place (a SEGWILD_BLENDER that ends in `env
LD_PRELOAD=libc.so.6`) from 668 to 681 in eight: that is how to look for growth. There `mallinfo2` tells what is in
use: over 170 steps after the first 18 that went from 418.8 to 423.7 MB, while the number of Python's objects and
blocks stayed. Loading files, undo, divided views, quad views, shading and switching the add-on off and on add nothing
when they are repeated. What is left is the software renderer's: by a heap profile of twenty steps it had taken 2.6 MB
more, numpy 0.2, Python 0.0, and Blender 1.5 less. It compiles a variant of a program for each kind of picture, and
keeps some of it: 0.04 MB for each picture of the view, 0.1 as long as each of those made programs of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import habits  # noqa: F401  (defines the actions)
from .conftest import write_blobs
from .driver import BlenderError, Driver
from .person import ACTIONS, TEACH, Person
from .views import look_from, settled

MINUTES = float(os.environ.get("SEGWILD_MINUTES", "1.2"))
GROWTH = 0.05  # of the memory after the warm-up
WARM_UP = 0.3  # of the time
RELEASE = """
import ctypes, gc
gc.collect()
# What an allocator keeps for later is no growth. Blender's is oneTBB's, which malloc_trim does not reach.
for line in open('/proc/self/maps'):
    if 'libtbbmalloc.so' in line:
        ctypes.CDLL(line.split()[-1]).scalable_allocation_command(0, None)  # TBBMALLOC_CLEAN_ALL_BUFFERS
        break
ctypes.CDLL(None).malloc_trim(0)
"""
BAD = ("Traceback", "Error", "EXCEPTION_", "segfault", "Segmentation")


@pytest.fixture
def person(blender: Driver, tmp_path: Path) -> Iterator[Person]:
    workspaces = [tmp_path / "one.segwild", tmp_path / "two.segwild"]
    given = os.environ.get("SEGWILD_SAMPLE")
    for workspace in workspaces:
        if given:
            shutil.copytree(given, workspace)
        else:
            write_blobs(workspace)
            write_looks(workspace)
    one = Person(blender, workspaces, tmp_path)
    one.python = sys.executable
    blender.run(TEACH)
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
    from backend.train.appearance import Appearance, initial_response, initial_shared

    names = tuple(photo.name for photo in Workspace.open(root).used_photos())
    shared = initial_shared(len(names), 4, 0)
    shared["offset"] = 0.3 * torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    count = len(Workspace.open(root).gaussians())
    Appearance(names, shared, initial_response(count, 4) + 0.1).save(Workspace.open(root))


def test_random_use_leaves_no_trace(person: Person, tmp_path: Path) -> None:
    seed = int(os.environ.get("SEGWILD_SEED", "0")) or int(time.time()) % 100_000
    see_everything(person)
    began, number, marked = time.monotonic(), 0, 0.0
    counts: Counter[str] = Counter()
    with (tmp_path / "random-use.log").open("w", buffering=1) as log:
        log.write(f"seed {seed}\n")
        while (spent := time.monotonic() - began) < 60 * MINUTES:
            if not marked and spent > 60 * MINUTES * WARM_UP:
                marked = memory_at_rest(person)
                log.write(f"mark {marked:.1f} MB\n")
            number += 1
            counts[step(person, f"{seed}:{number}", log, number, spent)] += 1
        end = memory_at_rest(person)
        log.write(f"{number} steps: {dict(counts)}\nmemory {marked:.1f} -> {end:.1f} MB\n")
    print(f"\nseed {seed}, {number} steps of {len(counts)} kinds, memory {marked:.1f} -> {end:.1f} MB")
    assert end <= (1 + GROWTH) * marked, f"it grew from {marked:.1f} to {end:.1f} MB (seed {seed})"


def see_everything(person: Person) -> None:
    """Once what Blender keeps for good when it is first used."""
    memory_at_rest(person)
    for kind in ("WIREFRAME", "SOLID"):
        person.blender.run(f"bpy.context.space_data.shading.type = {kind!r}")
        settled(person.blender)
    for source in ("region_quadview()", "region_quadview()", "area_split(direction='VERTICAL', factor=0.5)"):
        person.blender.run(f"bpy.ops.screen.{source}")
        settled(person.blender)
    person.blender.run("bpy.ops.segwild.viewport_image(size=0.5)")


def step(person: Person, choice: str, log: Any, number: int, spent: float) -> str:
    """One action that is possible now, with a look at what Blender has said afterwards."""
    person.random.seed(choice)
    facts = person.facts()
    possible = [each for each in ACTIONS if each.when(facts)]
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


def memory_at_rest(person: Person) -> float:
    """MB of Blender with one fresh import in a new file, drawn, and nothing to undo."""
    blender = person.blender
    blender.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    blender.run(f"""
        for ob in list(bpy.data.objects):
            bpy.data.objects.remove(ob)
        assert bpy.ops.segwild.import_workspace(directory={str(person.workspaces[0])!r}) == {{'FINISHED'}}
    """)
    look_from(blender, (0.0, -2.6, 1.3), (0, 0, 0.2))
    settled(blender)
    return blender.run(RELEASE + "result = memory()")
