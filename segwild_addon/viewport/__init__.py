"""Drawing splats in Blender's 3D views, picking them with the mouse, and pictures of them.

Owns the shaders, the order of drawing, and everything kept on the graphics card. Does not own the rows: those are
attributes of point clouds (`data`), read when they have changed. Blender's camera axes end in `camera`; all the
rest uses OpenCV axes (x right, y down, z forward).
"""
