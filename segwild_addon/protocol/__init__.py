"""What the add-on and the backend say to each other. Standard library only; both sides import it.

Owns the error tree, requests, questions and events. Knows nothing of bpy, torch or numpy.
"""
