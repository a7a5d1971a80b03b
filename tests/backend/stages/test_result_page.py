"""The report of a scene: whole in one file, worst photos first, and possible for scenes without looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.progress import Quiet
from backend.scene import Workspace
from backend.stages import evaluate, result_page, train
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Evaluate, Report, Train


def test_the_page_shows_the_worst_photo_first(photographed: Workspace) -> None:
    root = photographed.root
    train.run(Train(root, preset="quick", iterations=60, cap=2000, long_side=64), Quiet())
    spoilt = np.zeros((48, 64, 3), np.uint8)  # as if the photo had nothing to do with the scene
    write_picture(photographed.picture_file("p3"), spoilt)
    write_picture(root / "transients" / "p1.png", np.tile(np.arange(64) < 16, (48, 1)))
    result = result_page.run(Report(root), Quiet())
    assert min(result["per_photo"], key=lambda name: result["per_photo"][name]["psnr"]) == "p3"
    assert result["per_photo"]["p1"]["ignored"] == pytest.approx(0.25)
    page = Path(result["page"]).read_text(encoding="utf-8")
    assert page.index("p3: ") < page.index("p0: ")
    for heading in ("neutral light", "six looks", "worst first", "Most ignored", "How it went"):
        assert heading in page
    assert page.count("<img") >= result_page.ORBIT_FRAMES + result_page.LOOKS + 3 * 6
    assert 'src="http' not in page  # opens offline


def test_held_out_photos_are_scored_and_shown(photographed: Workspace) -> None:
    root = photographed.root
    photographed.write_photos(
        [replace(photo, split="test" if photo.name == "p5" else "train") for photo in photographed.photos()]
    )
    train.run(Train(root, preset="quick", iterations=60, cap=1500, long_side=64, refine_poses=True), Quiet())
    scores = evaluate.run(Evaluate(root), Quiet())
    assert list(scores["per_photo"]) == ["p5"]
    assert 8 < scores["psnr"] < 60
    assert 0 <= scores["soundness"]["opaque"] <= 1
    page = Path(result_page.run(Report(root), Quiet())["page"]).read_text(encoding="utf-8")
    assert "never saw" in page
    assert "cameras have turned" in page
    assert f"rendered, {scores['psnr']:.1f} dB" in page


def test_scenes_without_looks_have_a_page_and_without_photos_a_sentence(
    photographed: Workspace, tmp_path: Path
) -> None:
    request = Train(photographed.root, preset="quick", iterations=20, cap=800, long_side=64, appearance="none")
    train.run(request, Quiet())
    photographed.appearance.unlink()
    assert result_page.run(Report(photographed.root), Quiet())["photos"] == 6
    photographed.write_photos([])
    with pytest.raises(InputError, match="no photos"):
        result_page.run(Report(photographed.root), Quiet())
