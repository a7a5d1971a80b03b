"""Points seen in the photos as taken land, through lens and camera, where the solution says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import read_picture
from backend.capture.sfm import export_model
from backend.capture.solution import read_solution
from backend.progress import Quiet
from segwild_addon.protocol.errors import SetupError


@pytest.mark.slow
def test_observations_through_the_lens_meet_projected_points(test_data: Path, tmp_path: Path) -> None:
    paths = sorted((test_data / "statue" / "images").iterdir())
    sizes = {path: read_picture(path).shape[1::-1] for path in paths}
    photos = [
        {"image": path.name, "name": path.stem, "photo_size": size, "working_size": size}
        for path, size in sizes.items()
    ]
    export_model(test_data / "statue" / "sparse", photos, tmp_path, Quiet(), time_limit_secs=300)
    solution = read_solution(tmp_path / "solution.npz")
    assert len(solution.cameras) == 52
    distances = []
    for path, size in sizes.items():
        seen = solution.seen_name == path.stem
        lens, camera = solution.lens(path.stem, size), solution.cameras[path.stem]
        assert lens is not None
        projected, _ = camera.project(solution.positions[solution.seen_point[seen]])
        distance = np.linalg.norm(lens.to_picture(solution.seen_at[seen]) - projected, axis=1)
        assert distance.mean() < 1.5, path.stem
        distances.append(distance)
    assert np.concatenate(distances).mean() == pytest.approx(0.7, abs=0.1)  # the model's own error is 0.67


def test_a_missing_result_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "solution.npz").write_bytes(b"PK cut off")
    for path in (tmp_path / "none.npz", tmp_path / "solution.npz"):
        with pytest.raises(SetupError, match="no readable result"):
            read_solution(path)
