"""What Blender's process holds, so that growth can be told from what an allocator keeps for later.

Most Blenders for Linux do not use the C library's allocator: Debian's uses oneTBB's, the official ones jemalloc. Both
keep what is freed and let nobody see how much is in use, so such a process gets larger without holding more.
`ALLOCATOR` has Blender start with the C library's in its place (not where jemalloc is built in: then `used` is None).
That one tells what is in use, and gives back what is not when it is asked to.
"""

from __future__ import annotations

from typing import Any

from .driver import Driver

ALLOCATOR = {"LD_PRELOAD": "libc.so.6"}
_TEACH = """
import ctypes, gc, os, sys, threading

class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        'arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks', 'uordblks', 'fordblks', 'keepcost')]

def _used():
    libc, block = ctypes.CDLL('libc.so.6'), 256 << 20
    libc.mallinfo2.restype = _Mallinfo
    used = lambda: (lambda told: told.uordblks + told.hblkhd)(libc.mallinfo2())
    before, everyone = used(), ctypes.CDLL(None)
    everyone.malloc.restype, everyone.malloc.argtypes, everyone.free.argtypes = (
        ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p])
    kept = everyone.malloc(block)  # touched by nobody: no memory is taken
    after = used()
    everyone.free(kept)
    return before / 1e6 if after - before >= block else None  # else another allocator serves Blender

def _mapped():
    # Resident bytes by kind of mapping.
    found = dict(code=0, mapped_files=0, shared=0, rest=0)
    for line in open('/proc/self/smaps'):
        words = line.split()
        if '-' in words[0] and not words[0].endswith(':'):
            name = ' '.join(words[5:])
            if name.startswith(('/memfd', '/dev/shm', '/SYSV')) or name.endswith('(deleted)'):
                kind = 'shared'
            elif name.startswith('/'):
                kind = 'mapped_files'
            else:
                kind = 'code' if 'x' in words[1] else 'rest'
        elif words[0] == 'Rss:':
            found[kind] += int(words[1]) * 1024 / 1e6
    return found

def holdings():
    gc.collect()
    ctypes.CDLL('libc.so.6').malloc_trim(0)
    mapped = _mapped()
    return dict(
        resident=sum(mapped.values()), used=_used(), **mapped,
        python_objects=len(gc.get_objects()), python_blocks=sys.getallocatedblocks(),
        **{name: len(getattr(bpy.data, name)) for name in ('objects', 'pointclouds', 'images', 'collections')},
        threads=len(os.listdir('/proc/self/task')), python_threads=threading.active_count(),
        open_files=len(os.listdir('/proc/self/fd')),
        layers=len(addon('viewport.stock').SHARED.layers),
    )
"""


def teach(blender: Driver) -> None:
    """Once in each Blender, before `holdings`."""
    blender.run(_TEACH)


def holdings(blender: Driver) -> dict[str, Any]:
    """Megabytes, by kind of memory, and numbers of things, after everything that can be given back was given back."""
    return blender.run("result = holdings()")


def spoken(found: dict[str, Any]) -> str:
    """In one line."""
    words = (f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}" for name, value in found.items())
    return ", ".join(words)
