"""Exports through the file browser: Blender goes on while the file is written, and Esc leaves nothing."""

from __future__ import annotations

from pathlib import Path

from segwild_addon.data import ply

from .driver import Driver
from .hands import no_traceback, picture

SPLATS = 3000  # of the two blobs and the ground


def begin(blender: Driver, file: Path, *, chunk: int) -> None:
    """Choose the file in Blender's browser; `chunk` rows are written at a time."""
    blender.run(f"""
        addon('data.ply')._CHUNK_ROWS = {chunk}
        bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'
        bpy.ops.segwild.export_ply('INVOKE_DEFAULT', filepath={str(file)!r}, scope='ALL')
    """)
    blender.run("result = 0", view=False)  # answered when the browser is there
    blender.move(500, 400)
    blender.key("Return")


def test_a_chosen_file_is_written_while_blender_goes_on(imported: Driver, tmp_path: Path) -> None:
    file = tmp_path / "all.ply"
    begin(imported, file, chunk=1)
    imported.until("import threading; result = any(t.name == 'segwild-export' for t in threading.enumerate())")
    assert imported.run("result = addon('viewport.draw').drawings") > 0  # answered while the thread works
    picture(imported, "writing")
    imported.until(f"import os; result = os.path.exists({str(file)!r})")
    imported.until("import threading; result = all(t.name != 'segwild-export' for t in threading.enumerate())")
    assert len(ply.read(file)) == SPLATS
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    no_traceback(imported)
    assert f"Wrote {SPLATS:,} splats" in imported.log()


def suggested(blender: Driver) -> tuple[Path, str]:
    """The folder and the name with which the browser opens; it is left at once."""
    blender.run("""
        ob = bpy.context.view_layer.objects.active
        ob.name = 'stone'
        for other in bpy.context.view_layer.objects:
            other.select_set(other == ob)
        bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'
        bpy.ops.segwild.export_ply('INVOKE_DEFAULT', scope='SELECTED')
    """)
    folder, name = blender.run(
        """
        params = bpy.context.window_manager.windows[0].screen.areas[0].spaces.active.params
        result = [params.directory.decode(), params.filename]
        """,
        view=False,
    )
    blender.move(500, 400)
    blender.key("Escape")
    blender.until("result = bpy.context.window_manager.windows[0].screen.areas[0].type != 'FILE_BROWSER'", view=False)
    return Path(folder), name


def test_the_browser_suggests_the_name_of_what_is_written_and_can_be_left(imported: Driver) -> None:
    assert suggested(imported)[1] == "stone.ply"
    no_traceback(imported)


def test_the_browser_opens_where_the_last_export_went(imported: Driver, tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        begin(imported, tmp_path / name / "all.ply", chunk=1 << 14)
        imported.until("import threading; result = all(t.name != 'segwild-export' for t in threading.enumerate())")
        imported.until(f"import os; result = os.path.exists({str(tmp_path / name / 'all.ply')!r})")
        assert suggested(imported) == (tmp_path / name, "stone.ply")
    no_traceback(imported)


def test_escape_ends_an_export_and_leaves_no_file(imported: Driver, tmp_path: Path) -> None:
    file = tmp_path / "all.ply"
    imported.run("""
        import time
        ply = addon('data.ply')
        real = ply.writing
        def slow(path, rows, **named):
            for part in real(path, rows, **named):
                time.sleep(0.02)
                yield part
        ply.writing = slow
    """)
    try:
        begin(imported, file, chunk=1)  # a minute
        imported.until("import threading; result = any(t.name == 'segwild-export' for t in threading.enumerate())")
        imported.move(400, 400)
        imported.key("Escape")
        imported.until("import threading; result = all(t.name != 'segwild-export' for t in threading.enumerate())")
    finally:
        imported.run("ply.writing = real; ply._CHUNK_ROWS = 1 << 14")
    assert not list(tmp_path.glob("*.ply"))
    assert not list(tmp_path.glob(".*"))
    assert f"{file}" not in imported.log()
    no_traceback(imported)
