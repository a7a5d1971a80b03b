"""The data model everything above shares: Gaussians, cameras, transforms, the workspace folder.

Owns what a row, a camera, a photo and a workspace are, and how they are kept on disk. Does not own how
any of them is made or drawn. numpy only: no torch, no images.
"""

from backend.scene.cameras import Camera
from backend.scene.gaussians import Gaussians
from backend.scene.photos import Photo
from backend.scene.transforms import Similarity
from backend.scene.workspace import Workspace

__all__ = ["Camera", "Gaussians", "Photo", "Similarity", "Workspace"]
