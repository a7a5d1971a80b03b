"""What SegWild keeps in a .blend: on objects, collections and the scene; and what it keeps nowhere, for the panel.

No annotation may be a string here: Blender reads the properties out of them.
"""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
)

from .data import cameras, changes
from .protocol.values import CAUSES
from .viewport import selection

KINDS = (
    ("NONE", "None", "Not a part of a SegWild scene"),
    ("ROOT", "Root", "Places the scene in Blender's world"),
    ("REST", "Rest", "The splats of no segment"),
    ("SEGMENT", "Segment", "The splats of one object"),
    ("CAMERA", "Camera", "Where a photo was taken from"),
)
PRESETS = (
    ("quick", "Quick", "Minutes, for a first look"),
    ("standard", "Standard", "The usual balance of time and detail"),
    ("full", "Full", "All the detail the photos hold; an hour or more without a graphics card"),
)
# Identifiers travel to the backend as they are.
JUNK = (
    ("needle", "Needles", "Splats that are long and thin", 1),
    ("floater", "Floaters", "Small groups of splats that nothing touches", 2),
    ("near-camera", "Before Cameras", "Splats that hang close before a photo's camera", 4),
    ("unseen", "Unseen", "Splats that no photo shows", 8),
)


def _look_changed(self: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    changes.announce_look(self.uuid)


def _cameras_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for ob in bpy.data.objects:
        if ob.segwild.kind == "CAMERA" and ob.segwild.scene_uuid == self.uuid:
            cameras.show(ob, self.show_cameras or ob == context.scene.camera)


def _workspace_changed(self: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    for ob in bpy.data.objects:
        if self.uuid and ob.segwild.scene_uuid == self.uuid and ob.segwild.uuid:
            changes.announce_look(ob.segwild.uuid)


def _ask_photos_changed(_self: bpy.types.PropertyGroup, _context: bpy.types.Context) -> None:
    selection.refresh()


class SegwildObject(bpy.types.PropertyGroup):
    """What an object is to SegWild, and in which light it is shown."""

    uuid: StringProperty(description="Names this object for the backend")
    scene_uuid: StringProperty(description="The scene the object belongs to")
    kind: EnumProperty(items=KINDS, default="NONE")
    label: IntProperty(min=0, description="Number of the segment in the workspace, 0 for the rest")
    photo: StringProperty(description="The photo of a camera")
    whole: PointerProperty(
        type=bpy.types.PointCloud, description="The splats of a cut object as they were before; none: it is whole"
    )
    picture_size: IntVectorProperty(size=2, description="Width and height of the camera's picture in pixels")
    pixel_aspect: FloatProperty(default=1, description="fx / fy of the camera")

    look_a: StringProperty(name="Photo", description="Show the splats in the light of this photo", update=_look_changed)
    look_b: StringProperty(
        name="Second photo", description="Mix the light of the first photo with this one's", update=_look_changed
    )
    look_mix: FloatProperty(
        name="Mix",
        description="0 is the light of the first photo, 1 that of the second",
        min=0,
        max=1,
        subtype="FACTOR",
        update=_look_changed,
    )
    look_strength: FloatProperty(
        name="Strength",
        description="0 is neutral light, 1 the photo's, 2 exaggerates it",
        min=0,
        max=2,
        default=1,
        update=_look_changed,
    )
    exposure: FloatProperty(
        name="Exposure", description="Brighter or darker, in stops", soft_min=-4, soft_max=4, update=_look_changed
    )
    tint: FloatVectorProperty(
        name="Tint",
        description="Multiplies the colour",
        subtype="COLOR",
        default=(1, 1, 1),
        min=0,
        soft_max=2,
        update=_look_changed,
    )
    saturation: FloatProperty(
        name="Saturation", description="0 is grey, 1 as it is", default=1, min=0, soft_max=2, update=_look_changed
    )
    opacity: FloatProperty(
        name="Opacity",
        description="Multiplies the opacity of every splat",
        default=1,
        min=0,
        max=1,
        subtype="FACTOR",
        update=_look_changed,
    )
    sh_degree: IntProperty(
        name="Harmonics",
        description="How much colours may depend on the direction they are seen from; 0 is not at all",
        default=3,
        min=0,
        max=3,
        update=_look_changed,
    )


class SegwildCollection(bpy.types.PropertyGroup):
    """A collection that holds one scene."""

    uuid: StringProperty(description="Names this scene")
    workspace: StringProperty(
        name="Workspace",
        description="The folder the scene was made in. Choose it again where it was moved",
        subtype="DIR_PATH",
        update=_workspace_changed,
    )
    is_scene: BoolProperty()
    show_cameras: BoolProperty(
        name="Photo Cameras",
        description="Show a camera where each photo was taken from. Without this only the one that is looked through",
        update=_cameras_changed,
    )
    # JSON, since properties hold single precision: 4x4 matrix from the frame of the reconstruction.
    scene_from_capture: StringProperty()
    gaussians: StringProperty(description="Tells the workspace's splats from those of another training")


class SegwildPrompt(bpy.types.PropertyGroup):
    """One click of a selection that is being made."""

    position: FloatVectorProperty(description="The surface point that was hit, scene frame")
    eye: FloatVectorProperty(description="Where the camera was, scene frame")
    pixel: FloatProperty(description="Size of a pixel at the point, scene units")
    positive: BoolProperty(default=True, description="Whether the point belongs to the object")
    row: IntProperty(description="The splat that was hit, its segwild_id")
    holder: StringProperty(description="The object it was hit in, its uuid")
    beside: FloatVectorProperty(description="From the middle of that splat to the point, in the object's axes")
    stroke: IntProperty(min=0, description="Number of a box or brush stroke of this session; 0: a click")
    junk: BoolProperty(description="The stroke was not drawn: its splats were found as likely junk")


class SegwildScene(bpy.types.PropertyGroup):
    """Settings that are saved with the file."""

    active_scene: StringProperty(description="The SegWild scene that was worked with last: prompts are in it")
    prompts: CollectionProperty(type=SegwildPrompt)
    prompt_size: IntProperty(
        min=0, description="How large a thing the clicks mean, one of the sizes they may mean; 0: what stands out"
    )
    photos_folder: StringProperty(
        name="Photos", description="The folder of photos to make a scene from", subtype="DIR_PATH"
    )
    workspace_folder: StringProperty(
        name="Workspace", description="The folder the new scene is made in", subtype="DIR_PATH"
    )
    preset: EnumProperty(name="Preset", description="Time against detail", items=PRESETS, default="standard")
    people_weights: StringProperty(
        name="People",
        description="Weights of a network that sees people and vehicles, to leave out those that differ too little"
        " from what is behind them. `segwild doctor` says where to get them; empty: none",
        subtype="FILE_PATH",
    )
    clean_edges: BoolProperty(
        name="Clean edges",
        description="Divide the splats that stick out of a new object at its edge. Needs the backend",
        default=True,
    )
    highlight_color: FloatVectorProperty(
        name="Highlight",
        description="Colour of what is selected",
        subtype="COLOR",
        default=(1.0, 0.35, 0.05),
        min=0,
        max=1,
    )
    budget: IntProperty(
        name="Splats while moving",
        description="More splats than this are thinned out while the view moves",
        default=3_000_000,
        min=10_000,
        soft_max=20_000_000,
    )
    half_resolution: BoolProperty(
        name="Half resolution while moving", description="Draw coarser pictures while the view moves", default=True
    )


class SegwildStatus(bpy.types.PropertyGroup):
    """What the panel shows at the moment; never saved."""

    status: StringProperty(options={"SKIP_SAVE"})
    status_icon: StringProperty(default="ERROR", options={"SKIP_SAVE"})
    prompt_mode: EnumProperty(
        name="Select with",
        items=(
            (
                "CLICK",
                "Click",
                "Click on the object; Shift-click on what does not belong to it",
                "RESTRICT_SELECT_OFF",
                0,
            ),
            ("BOX", "Box", "Drag a box around splats to add them, with Shift to take them out", "SELECT_SET", 1),
            ("BRUSH", "Brush", "Paint over splats to add them, with Shift to take them out", "BRUSH_DATA", 2),
        ),
        options={"SKIP_SAVE"},
    )
    brush_px: IntProperty(
        name="Size", description="Radius of the brush ([ and ] change it)", subtype="PIXEL", default=30, min=2, max=500
    )
    ask_photos: BoolProperty(
        name="Ask Photos",
        description="Where nothing stands apart in space, have photos that show it say what a click means: it takes "
        "some seconds more, and changes the highlight then",
        default=True,
        update=_ask_photos_changed,
    )
    through: BoolProperty(name="Through", description="Box and brush also take what is hidden behind other splats")
    junk_strength: FloatProperty(
        name="Strength",
        description="How much is taken for junk: 0 is the worst alone, 1 is the most",
        default=0.5,
        min=0,
        max=1,
        subtype="FACTOR",
    )
    junk_causes: EnumProperty(
        name="Causes", description="What is looked for", items=JUNK, options={"ENUM_FLAG"}, default=set(CAUSES)
    )
    junk_here: BoolProperty(name="Active Object Only", description="Look for junk in the active object alone")
    least_part: IntProperty(
        name="Smallest", description="Parts of fewer splats stay in an object that is split", default=30, min=1
    )
    new_name: StringProperty(name="Name", description="Name of the object that is made", default="Object")
    export_folder: StringProperty(description="Where the last export went", options={"SKIP_SAVE"})


_CLASSES = (SegwildObject, SegwildCollection, SegwildPrompt, SegwildScene, SegwildStatus)
_HOLDERS = (
    (bpy.types.Object, SegwildObject),
    (bpy.types.Collection, SegwildCollection),
    (bpy.types.Scene, SegwildScene),
    (bpy.types.WindowManager, SegwildStatus),
)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)
    for holder, group in _HOLDERS:
        holder.segwild = PointerProperty(type=group)


def unregister() -> None:
    for holder, _ in _HOLDERS:
        del holder.segwild
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
