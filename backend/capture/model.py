"""A COLMAP reconstruction into plain arrays and a model of pinhole cameras.

Runs in the child process (it imports pycolmap): `backend.capture.solution` reads what is written here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from backend.capture.projection import LensError, Pinhole, pinhole


def export(
    model: Path,
    photos: list[dict[str, Any]],  # image (name in the model), name, photo_size, working_size
    arrays: Path,  # .npz to write
    cameras: Path,  # folder for the pinhole model, made if missing
) -> dict[str, Any]:
    """Write the cameras, lenses and points of the photos named, all in the model's own frame.

    Returns the photos that the model does not place or whose lens cannot be undone, name -> reason, and
    the mean reprojection error. Raises ValueError with a sentence for a model of panoramas.
    """
    reconstruction = pycolmap.Reconstruction(model)
    by_name = {_name(image): image for image in reconstruction.images.values() if image.has_pose}
    left_out: dict[str, str] = {}
    placed: list[tuple[dict[str, Any], pycolmap.Image, Pinhole]] = []
    for photo in photos:
        image = by_name.get(photo["image"])
        if image is None:
            left_out[photo["name"]] = "no overlap with the others found"
            continue
        camera = reconstruction.cameras[image.camera_id]
        if camera.model == pycolmap.CameraModelId.EQUIRECTANGULAR:
            raise ValueError("panorama")
        trouble = _size_trouble(camera, photo["photo_size"])
        if trouble:
            left_out[photo["name"]] = trouble
            continue
        try:
            view = pinhole(camera, photo_size=tuple(photo["photo_size"]), working_size=tuple(photo["working_size"]))
        except LensError as error:
            left_out[photo["name"]] = f"{error}"
            continue
        placed.append((photo, image, view))
    points = _write_arrays(arrays, reconstruction, placed)
    _write_pinholes(cameras, reconstruction, placed, points)
    scaled = [
        photo["name"]
        for photo, image, _ in placed
        if (reconstruction.cameras[image.camera_id].width, reconstruction.cameras[image.camera_id].height)
        not in (tuple(photo["photo_size"]), tuple(photo["working_size"]))
    ]
    error = reconstruction.compute_mean_reprojection_error() if reconstruction.num_points3D() else 0.0
    return {"left_out": left_out, "scaled": scaled, "mean_reprojection_error_px": float(error)}


def _name(image: pycolmap.Image) -> str | None:
    """None for a name that is no UTF-8, which pycolmap cannot tell: that photo alone goes without a camera."""
    try:
        return image.name
    except UnicodeDecodeError:
        return None


def _size_trouble(camera: pycolmap.Camera, photo_size: list[int]) -> str:
    across, down = photo_size[0] / camera.width, photo_size[1] / camera.height
    if abs(across - down) * max(camera.width, camera.height) > 2 + 0.01 * max(photo_size):
        return (
            f"its size {photo_size[0]}x{photo_size[1]} is no scaled copy of its camera's {camera.width}x{camera.height}"
        )
    return ""


def _write_arrays(
    path: Path,
    reconstruction: pycolmap.Reconstruction,
    placed: list[tuple[dict[str, Any], pycolmap.Image, Pinhole]],
) -> list[int]:
    """Returns the ids of the points written, in their order: those that a placed photo sees."""
    row_of_image = {image.image_id: row for row, (_, image, _) in enumerate(placed)}
    ids: list[int] = []
    seen: list[tuple[int, int]] = []
    positions_seen: list[np.ndarray] = []
    for point_id in sorted(reconstruction.point3D_ids()):
        elements = [
            element for element in reconstruction.points3D[point_id].track.elements if element.image_id in row_of_image
        ]
        for element in elements:
            image = placed[row_of_image[element.image_id]][1]
            seen.append((len(ids), row_of_image[element.image_id]))
            camera = reconstruction.cameras[image.camera_id]
            ratio = np.divide(placed[row_of_image[element.image_id]][0]["photo_size"], (camera.width, camera.height))
            positions_seen.append(image.points2D[element.point2D_idx].xy * ratio)
        if elements:
            ids.append(point_id)
    points = [reconstruction.points3D[point_id] for point_id in ids]
    arrays = {
        "names": np.array([photo["name"] for photo, _, _ in placed], dtype=str),
        "cam_from_world": np.array([_matrix(image) for _, image, _ in placed]).reshape(-1, 4, 4),
        "pinholes": np.array([[v.fx, v.fy, v.cx, v.cy, v.width, v.height] for *_, v in placed], float).reshape(-1, 6),
        "positions": np.array([point.xyz for point in points], float).reshape(-1, 3),
        "colors": np.array([point.color for point in points], np.uint8).reshape(-1, 3),
        "errors": np.array([point.error for point in points], np.float32),
        "tracks": np.array([point.track.length() for point in points], np.int32),
        "seen": np.array(seen, np.int32).reshape(-1, 2),  # point, row of names
        "seen_at": np.array(positions_seen, np.float32).reshape(-1, 2),  # photo pixels
    }
    for row, (_, _, view) in enumerate(placed):
        if view.picture_from_photo is not None:
            arrays[f"picture_from_photo/{row}"] = view.picture_from_photo
            arrays[f"photo_from_picture/{row}"] = view.photo_from_picture
    np.savez(path, **arrays)
    return ids


def _matrix(image: pycolmap.Image) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().matrix()
    return matrix


def _write_pinholes(
    folder: Path,
    reconstruction: pycolmap.Reconstruction,
    placed: list[tuple[dict[str, Any], pycolmap.Image, Pinhole]],
    points: list[int],
) -> None:
    """The same model for the undistorted pictures, so that any COLMAP reader opens the workspace."""
    plain = pycolmap.Reconstruction()
    index_in: dict[int, dict[int, int]] = {}  # image id -> index of an observation there -> index here
    for number, (photo, image, view) in enumerate(placed, start=1):
        camera = pycolmap.Camera(
            model="PINHOLE",
            width=view.width,
            height=view.height,
            params=[view.fx, view.fy, view.cx, view.cy],
            camera_id=number,
        )
        plain.add_camera_with_trivial_rig(camera)
        source = reconstruction.cameras[image.camera_id]
        observed = [index for index, point in enumerate(image.points2D) if point.has_point3D()]
        rays = np.asarray(source.cam_from_img(np.array([image.points2D[i].xy for i in observed]).reshape(-1, 2)))
        pixels = np.nan_to_num(rays * (view.fx, view.fy) + (view.cx, view.cy), nan=-1.0)
        index_in[image.image_id] = {index: place for place, index in enumerate(observed)}
        plain.add_image_with_trivial_frame(
            pycolmap.Image(
                name=f"{photo['name']}.jpg",
                points2D=pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in pixels]),
                camera_id=number,
                image_id=number,
            ),
            image.cam_from_world(),
        )
    number_of_image = {image.image_id: number for number, (_, image, _) in enumerate(placed, start=1)}
    for point_id in points:
        point = reconstruction.points3D[point_id]
        track = pycolmap.Track()
        for element in point.track.elements:
            if element.image_id in number_of_image:
                place = index_in[element.image_id][element.point2D_idx]
                track.add_element(number_of_image[element.image_id], place)
        plain.add_point3D(point.xyz, track, point.color)
    folder.mkdir(parents=True, exist_ok=True)
    plain.update_point_3d_errors()
    plain.write_binary(folder)
