"""Photos and cameras into Gaussians in neutral light, with a look per photo and without the passers-by.

Owns presets, the loop, losses, density control, appearance, transient masks, checkpoints and the scores
of pictures. Does not own cameras (`capture`), drawing (`render`) or what a row is (`scene`).
"""
