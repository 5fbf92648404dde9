"""A coloured surface of a photograph and its depth: mesh and turntable."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from defocus.optics.light import srgb_to_linear

if TYPE_CHECKING:
    from defocus.applications.depth import Depth

MOST_VERTICES = 200_000
JUMP = 1.08
"""Ratio of distances within a face above which it is a jump between things, not a surface, and is cut."""
NEAR, FAR = 1.0, 2.5
"""Distances that relative depth is spread over."""
FOCAL = 1.2
"""Focal length for relative depth, in longer sides of the photograph."""
FRAMES, SWING, FRAME_WIDTH = 24, 8.0, 360
"""Of the turntable: pictures, degrees to each side, px."""


class Surface(NamedTuple):
    """Vertices n x 3 float32 (x right, y up, z towards the viewer; m or relative), faces m x 3, colours n x 3 uint8."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    colours: NDArray[np.uint8]


def surface(rgb: NDArray[np.uint8], depth: Depth) -> Surface:
    """Put every pixel at its distance; large photographs are thinned to 200,000 vertices.

    Faces look at the camera. Those that would join things at different distances are left out.
    """
    height, width = depth.depth.shape
    step = max(1, int(np.ceil(np.sqrt(height * width / MOST_VERTICES))))
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    everywhere, focal = distances(depth)
    z = everywhere[np.ix_(rows, columns)]
    y, x = rows[:, None] - (height - 1) / 2, columns[None, :] - (width - 1) / 2
    vertices = np.stack([x * z / focal, -y * z / focal, -z], axis=2).reshape(-1, 3).astype(np.float32)
    index = np.arange(z.size).reshape(z.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    corners = np.stack([z[:-1, :-1], z[1:, :-1], z[1:, 1:], z[:-1, 1:]])
    whole = corners.max(axis=0) / corners.min(axis=0) < JUMP
    # Counter-clockwise as the camera sees them.
    faces = np.concatenate([np.stack([p[whole] for p in of], axis=1) for of in ((a, b, c), (a, c, d))])
    return Surface(vertices, faces, rgb[np.ix_(rows, columns)].reshape(-1, 3))


def distances(depth: Depth) -> tuple[NDArray[np.float64], float]:
    """Return the distance of every pixel, H x W (m, or from `NEAR` to `FAR` where depth is relative), and the focal
    length in px.
    """
    height, width = depth.depth.shape
    z = depth.depth.astype(np.float64)
    if depth.lens is None:
        return NEAR + (FAR - NEAR) * z, FOCAL * max(height, width)
    return z, depth.lens.focal_length / depth.lens.sensor_width * width


def glb(model: Surface) -> bytes:
    """Return the surface as a binary glTF 2.0 file.

    Colours are linear, as glTF wants vertex colours, with 16 bits so that shadows keep their steps. The material is
    unlit (KHR_materials_unlit): the photograph holds its light already.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    linear = np.ones((len(model.colours), 4))
    linear[:, :3] = srgb_to_linear(model.colours / 255)
    mesh = trimesh.Trimesh(model.vertices, model.faces, process=False)
    mesh.vertex_attributes["_color"] = np.rint(linear * 65535).astype(np.uint16)
    # trimesh itself writes colours of 8 bits as they are, and no unlit material.
    contents: bytes = export_glb(trimesh.Scene(mesh), tree_postprocessor=_unlit)
    return contents


def _unlit(tree: dict[str, Any]) -> None:
    """Make the attribute `_color` of an exported glTF tree its colours, and its material unlit."""
    primitive = tree["meshes"][0]["primitives"][0]
    colours = primitive["attributes"].pop("_color")
    primitive["attributes"]["COLOR_0"] = colours
    tree["accessors"][colours]["normalized"] = True
    tree["extensionsUsed"] = [*tree.get("extensionsUsed", ()), "KHR_materials_unlit"]
    tree["materials"] = [
        {
            "extensions": {"KHR_materials_unlit": {}},
            # For programs that do not know the extension: neither a mirror nor glossy.
            "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            "doubleSided": True,
        }
    ]
    primitive["material"] = 0


def ply(model: Surface) -> bytes:
    """Return the surface as a binary PLY file; colours are sRGB of 8 bits, as programs that read PLY expect."""
    import trimesh

    mesh = trimesh.Trimesh(model.vertices, model.faces, vertex_colors=model.colours, process=False)
    contents: bytes = mesh.export(file_type="ply")
    return contents


def turntable(model: Surface) -> list[Image.Image]:
    """Pictures of the surface, swung from side to side about its middle."""
    shown = np.unique(model.faces)  # points between things, at a jump, would hang in the air
    points, colours = model.vertices[shown].astype(np.float64), model.colours[shown]
    if not len(points):
        points, colours = model.vertices.astype(np.float64), model.colours
    centre = np.array([0, 0, float(np.median(points[:, 2]))])
    aspect = np.ptp(points[:, 1] / -points[:, 2]) / max(np.ptp(points[:, 0] / -points[:, 2]), 1e-9)
    width, height = FRAME_WIDTH, max(2, round(FRAME_WIDTH * aspect))
    scale = width / np.ptp(points[:, 0] / -points[:, 2]) * 0.92
    frames = []
    for k in range(FRAMES):
        angle = np.radians(SWING) * np.sin(2 * np.pi * k / FRAMES)
        cos, sin = np.cos(angle), np.sin(angle)
        moved = (points - centre) @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]) + centre
        distance = np.maximum(-moved[:, 2], 1e-6)
        columns = np.rint(moved[:, 0] / distance * scale + width / 2).astype(int)
        rows = np.rint(-moved[:, 1] / distance * scale + height / 2).astype(int)
        picture = np.full((height, width, 3), 24, np.uint8)
        drawn = np.zeros((height, width), bool)
        order = np.argsort(-distance)  # the nearest is drawn last
        for dy in (0, 1):
            for dx in (0, 1):
                r, c = rows[order] + dy, columns[order] + dx
                inside = (r >= 0) & (r < height) & (c >= 0) & (c < width)
                picture[r[inside], c[inside]] = colours[order][inside]
                drawn[r[inside], c[inside]] = True
        frames.append(Image.fromarray(_closed(picture, drawn)))
    return frames


def _closed(picture: NDArray[np.uint8], drawn: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill pixels between points that lie apart after turning: those with most of their neighbours drawn."""
    filled = picture.astype(np.float32)
    for _ in range(3):
        share = ndimage.uniform_filter(drawn.astype(np.float32), 3)
        holes = ~drawn & (share > 0.45)
        around = ndimage.uniform_filter(np.where(drawn[..., None], filled, 0), (3, 3, 1))
        filled[holes] = around[holes] / share[holes, None]
        drawn = drawn | holes
    return np.rint(filled).astype(np.uint8)


def turntable_gif(model: Surface) -> bytes:
    """Return the turntable as an animated GIF that repeats for ever."""
    frames = turntable(model)
    file = io.BytesIO()
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=80, loop=0)
    return file.getvalue()
