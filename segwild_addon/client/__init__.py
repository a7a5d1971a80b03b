"""The add-on's side of the conversation with the backend. Standard library and numpy; knows nothing of bpy.

Owns the backend's process (`process`), its environment (`install`), requests (`http`), the event stream
(`stream`) and large arrays (`arrays`); `Backend` is all of it for a session. Draws nothing and touches no
scene: what happens arrives in a queue that the session empties when it likes.
"""
