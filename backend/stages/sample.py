"""Generate the sample collection."""

from __future__ import annotations

from typing import Any

from backend.capture.sample import generate
from backend.progress import Progress
from segwild_addon.protocol.requests import Sample


def run(request: Sample, progress: Progress) -> dict[str, Any]:
    collection = generate(
        request.out, photos=request.photos, long_side=request.long_side, seed=request.seed, progress=progress
    )
    return {
        "photos": len(collection.photos),
        "objects": [item.name for item in collection.objects],
        "folder": str(collection.photo_folder),
    }
