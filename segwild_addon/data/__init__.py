"""Blender's datablocks and the rows of Gaussians behind them: the only writer of `bpy.data`.

Owns: what a scene, a splat object and a camera are in Blender, reading a finished workspace folder, moving rows
between objects, files. Does not own: drawing (`viewport`), the backend (`session`), buttons (`ui`, `operators`).

Three things hold everywhere:

* Rows in a datablock lie in the object's own space, which is the scene frame until somebody moves the object.
  The scene's root empty maps the scene frame to Blender's world.
* Colours in a datablock are in neutral light. A photo's look and the grading of an object are settings
  (`ob.segwild`), applied where rows are drawn or exported (`looks`, `grading`).
* Whoever changes rows or settings says so through `changes.announce`; whoever draws listens.
"""
