"""The Blender side of SegWild, and the contract (`protocol`) it shares with the backend."""
