"""Photos into a workspace: upright undistorted pictures, one pinhole camera each, sparse points.

Owns reading and writing pictures, structure from motion, and the layouts photos arrive in. Does not own
what is fitted to them. Nothing is imported here on purpose: `sfm_child` runs pycolmap in a process of its
own, where Pillow must never be loaded.
"""
