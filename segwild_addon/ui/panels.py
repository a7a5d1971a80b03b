"""The sidebar's tab: scene, backend, new scenes, selecting."""

import bpy

from .. import cleaning, environment, session, suggestions, work
from ..client.link import Link
from ..data import scenes
from ..viewport import draw, prompts, proposals, selection
from . import states

CHARACTER_PX = 6.1  # of the interface's font, at scale 1, on average
MARGIN_PX = 64  # tabs, and the edges of a panel and of a box in it
ICON_PX = 20


class _Panel(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SegWild"


class SEGWILD_PT_scene(_Panel):
    bl_label = "SegWild"
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene = scenes.active(context)
        if scene is None:
            text(layout, context, "Make a scene from photos below, or import a finished one.")
        else:
            row = layout.row(align=True)
            row.label(text=scene.name.removeprefix("SegWild "), icon="OUTLINER_OB_POINTCLOUD")
            count = sum(len(ob.data.points) for ob in scenes.splat_objects(scene))
            row.label(text=f"{count:,} splats")
        column = layout.column(align=True)
        column.operator("segwild.import_workspace", text="Import Scene…", icon="IMPORT")
        column.operator("segwild.import_ply", text="Import Splats (.ply)…", icon="IMPORT")
        if scene is not None:  # else the whole panels are in sight
            header, body = layout.panel("segwild_workspace", default_closed=True)
            header.label(text="Workspace")
            if body is not None:
                body.enabled = scene.is_editable
                body.prop(scene.segwild, "workspace", text="")
            _draw_short(layout, context)
        for sentence in (draw.problem(), session.trouble()):
            if sentence:
                text(layout.box(), context, sentence, icon="ERROR")
        said = context.window_manager.segwild
        if said.status:
            row = layout.box().row()
            text(row, context, said.status, icon=said.status_icon)
            if suggestions.busy() or cleaning.cutting():
                row.operator("segwild.stop_question", text="", icon="X", emboss=False)


def _draw_short(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The backend in one row and the job in one bar; whatever went wrong in full."""
    shown = _backend(context)
    if shown.alert:
        draw_shown(layout.box(), context, shown)
    else:
        row = layout.row(align=True)
        row.label(text=f"Backend: {shown.title}", icon=shown.icon)
        if shown.buttons:
            operator, _, icon = shown.buttons[0]
            row.operator(operator, text="", icon=icon)
        if shown.bar is not None:
            layout.progress(factor=shown.bar, text=shown.bar_text)
    link = work.link_of(context)
    course = link.courses.current if link is not None else None
    if course is None or course.state == "done":
        return
    job = states.job(course)
    if job is not None and job.alert:
        draw_shown(layout.box(), context, job)
    elif job is not None and course.live:
        row = layout.row(align=True)
        row.progress(factor=job.bar or 0.0, text=states.short(course))
        row.operator("segwild.cancel_job", text="", icon="X")


class SEGWILD_PT_backend(_Panel):
    bl_label = "Backend"
    bl_order = 7

    def draw(self, context: bpy.types.Context) -> None:
        draw_backend(self.layout, context)


class SEGWILD_PT_make(_Panel):
    bl_label = "New Scene from Photos"
    bl_order = 6

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.segwild
        link = work.link_of(context)
        course = link.courses.current if link is not None else None
        live = course is not None and course.live
        if not live:
            layout.use_property_split = True
            layout.use_property_decorate = False
            layout.prop(settings, "photos_folder")
            if settings.photos_folder:
                layout.prop(settings, "workspace_folder", placeholder="beside the photos")
            layout.prop(settings, "preset")
            header, body = layout.panel("segwild_passers_by", default_closed=True)
            header.label(text="Passers-By")
            if body is not None:
                body.prop(settings, "people_weights", text="Weights", placeholder="none")
            row = layout.row()
            row.scale_y = 1.4
            row.operator("segwild.make_scene", icon="PLAY")
        if link is not None:
            _draw_job(layout, context, link)
        if not live and scenes.active(context) is not None:
            row = layout.row(align=True)
            row.operator("segwild.train")
            row.operator("segwild.lift")


class SEGWILD_PT_select(_Panel):
    bl_label = "Select"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.active(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout, state = self.layout, context.window_manager.segwild
        row = layout.row()
        row.scale_y = 1.4
        on = prompts.running()
        row.operator(
            "segwild.prompt", text="Clicking…" if on else "Select Object", icon="RESTRICT_SELECT_OFF", depress=on
        )
        layout.row(align=True).prop(state, "prompt_mode", expand=True)
        if state.prompt_mode == "BRUSH":
            layout.prop(state, "brush_px")
        layout.prop(state, "ask_photos" if state.prompt_mode == "CLICK" else "through")
        workspace = scenes.active(context).segwild.workspace  # while another one may be trained
        link = session.known(workspace)
        if state.prompt_mode == "CLICK" and (link is None or not link.running):
            text(layout, context, "Clicks need the backend. Box and brush work without it.", icon="INFO")
            if workspace and environment.python() is not None and (link is None or link.backend is None):
                layout.operator("segwild.start_backend", icon="PLAY").workspace = workspace
        row = layout.row(align=True)
        row.operator("segwild.find_objects", icon="VIEWZOOM")
        if proposals.shown(scenes.active(context).segwild.uuid):
            row.operator("segwild.make_proposed")
            row.operator("segwild.hide_proposals", text="", icon="X")
        if len(context.scene.segwild.prompts):
            _draw_selection(layout, context)
        header, body = layout.panel("segwild_junk", default_closed=True)
        header.label(text="Likely Junk")
        if body is not None:
            body.prop(state, "junk_strength")
            body.column(align=True).prop(state, "junk_causes")
            body.prop(state, "junk_here")
            body.operator("segwild.find_junk", icon="VIEWZOOM")
            if (link is None or not link.running) and not work.startable(scenes.active(context).segwild.workspace):
                text(body, context, "Finding junk needs the backend.", icon="INFO")


def _draw_selection(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    box, state = layout.box(), context.window_manager.segwild
    marks = selection.marks()
    added, beside = sum(mark.positive for mark in marks), sum(not mark.positive for mark in marks)
    junk = any(each.junk for each in context.scene.segwild.prompts)
    strokes = len(context.scene.segwild.prompts) - len(marks) - junk
    counts = [(added, "click", "clicks"), (beside, "beside", "beside"), (strokes, "stroke", "strokes")]
    parts = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    said = ", ".join([*parts, *["likely junk"] * junk])
    refusal = selection.refusal()
    if selection.waiting():
        box.label(text="Looking for the object…", icon="SORTTIME")
    elif refusal is not None:
        text(box, context, str(refusal), icon="ERROR")
    elif selection.unknown():
        text(box, context, "What these clicks select is known when the backend runs.", icon="INFO")
    elif selection.consulting():
        box.label(text=f"{selection.count():,} splats, asking the photos…", icon="SORTTIME")
    else:
        count = selection.count()
        box.label(text=f"{count:,} splats", icon="CHECKMARK" if count else "INFO")
    box.label(text=said)
    if added:
        row = box.row(align=True)
        row.operator("segwild.part_prompts", icon="TRIA_LEFT")
        row.operator("segwild.whole_prompts", icon="TRIA_RIGHT")
    row = box.row(align=True)
    row.operator("segwild.grow_prompts", icon="ADD")
    row.operator("segwild.shrink_prompts", icon="REMOVE")
    box.prop(state, "new_name", text="")
    box.prop(context.scene.segwild, "clean_edges")
    row = box.row(align=True)
    row.operator("segwild.accept_prompts", icon="CHECKMARK")
    row.operator("segwild.erase_prompts", icon="TRASH")
    row.operator("segwild.clear_prompts", text="", icon="X")


def draw_backend(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """The backend's state with its buttons."""
    draw_shown(layout, context, _backend(context))
    if environment.status().state == "installing":
        _draw_tail(layout, environment.tail())


def _backend(context: bpy.types.Context) -> states.Shown:
    link = work.link_of(context)
    active = link is not None and (link.backend is not None or link.ending)
    return states.backend(
        environment.status(),
        link.status if active else None,
        online=environment.online(),
        remote=active and link.remote,
        scene=bool(work.workspace_of(context)),
    )


def _draw_job(layout: bpy.types.UILayout, context: bpy.types.Context, link: Link) -> None:
    course = link.courses.current
    shown = states.job(course)
    if shown is None or course is None:
        return
    box = layout.box()
    column = box.column(align=True)
    icons = {"done": "CHECKMARK", "running": "PLAY", "failed": "ERROR", "cancelled": "PAUSE", "queued": "RADIOBUT_OFF"}
    stages = course.stages()
    if len(stages) > 1:
        for name, state in stages:
            row = column.row()
            row.active = state != "queued"
            row.label(text=name, icon=icons[state])
    draw_shown(box, context, shown)
    if course.live and not link.running:
        text(box, context, "The backend is away. The job goes on when it is back.", icon="INFO")
    if course.state == "done" and course.verb in work.MAKES_SPLATS:
        box.operator("segwild.import_result", text="Import Again", icon="IMPORT")
    if course.state in ("running", "failed"):
        _draw_tail(box, work.tail(context))
    if course.warnings:
        header, body = box.panel("segwild_warnings", default_closed=True)
        header.label(text=f"{len(course.warnings)} warning{'s' * (len(course.warnings) > 1)}", icon="INFO")
        if body is not None:
            for warning in course.warnings[-5:]:
                items = (
                    f" ({', '.join(warning.items[:5])}{', …' if len(warning.items) > 5 else ''})"
                    if warning.items
                    else ""
                )
                text(body, context, warning.sentence + items)


def draw_shown(layout: bpy.types.UILayout, context: bpy.types.Context, shown: states.Shown) -> None:
    """A state's icon and title, its sentences, its bar and its buttons."""
    column = layout.column()
    row = column.row()
    row.alert = shown.alert
    row.label(text=shown.title, icon=shown.icon)
    for line in shown.lines:
        text(column, context, line)
    if shown.bar is not None:
        column.progress(factor=shown.bar, text=shown.bar_text)
    if not shown.buttons:
        return
    wide = len(shown.buttons) > 2 or any(len(label) > 14 for _, label, _ in shown.buttons)
    buttons = column.column(align=True) if wide else column.row(align=True)
    for operator, label, icon in shown.buttons:
        buttons.operator(operator, text=label, icon=icon)


def _draw_tail(layout: bpy.types.UILayout, lines: tuple[str, ...]) -> None:
    if not lines:
        return
    header, body = layout.panel("segwild_tail", default_closed=True)
    header.label(text="Log")
    if body is not None:
        column = body.column(align=True)
        column.scale_y = 0.7
        column.active = False
        for line in lines[-6:]:
            column.label(text=line[:120])


def text(layout: bpy.types.UILayout, context: bpy.types.Context, sentence: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as the panel's width needs."""
    scale = context.preferences.system.ui_scale
    width = context.region.width / scale if context.region is not None else 300
    room = width - MARGIN_PX - (ICON_PX if icon != "NONE" else 0)
    lines = states.wrapped(sentence, max(16, int(room / CHARACTER_PX)))
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


_CLASSES = (SEGWILD_PT_scene, SEGWILD_PT_backend, SEGWILD_PT_make, SEGWILD_PT_select)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
