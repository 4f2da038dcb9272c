"""Builds the actors of a scene: hollow cups, balls, boxes, boards and flat pictures, from their specs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import sapien

from spatialbot_sim.task.lowpoly_panda import cache_root
from spatialbot_sim.task.specs import BOARD_HALF_M, BoardSpec, ObjectSpec, Role, Shape

_CUP_WALL = 0.12  # share of the radius
_SIDES = 20  # of a cup's outline
_SHADES = 5  # tones of a printed picture
_DENSITY = 300.0  # kg/m3: light, like plastic toys


def build_object(scene: Any, spec: ObjectSpec, camera_m: np.ndarray) -> Any:
    """Add one object to a ManiSkill scene and return its actor.

    Args:
        scene: ManiSkill scene.
        spec: what to build; its pose is set with the actor's initial pose.
        camera_m: (3,) where the camera stands; a picture is printed to look real from there.
    """
    builder = scene.create_actor_builder()
    if spec.role is Role.PICTURE:
        with tempfile.TemporaryDirectory() as folder:  # SAPIEN reads meshes from files, when it builds
            _add_picture(builder, spec, camera_m, Path(folder))
            builder.initial_pose = sapien.Pose([*spec.xy_m, 0.0])
            return builder.build_static(name=spec.name)
    material = _material(spec.rgb)
    r, h = spec.radius_m, spec.height_m
    if spec.shape is Shape.BALL:
        builder.add_sphere_collision(radius=r, density=_DENSITY)
        builder.add_visual_from_file(str(_unit_mesh("ball")), scale=[r, r, r], material=material)
    elif spec.shape is Shape.BOX:
        builder.add_box_collision(half_size=[r, r, h / 2], density=_DENSITY)
        builder.add_box_visual(half_size=[r, r, h / 2], material=material)
    else:
        _add_cup_collision(builder, r, h)
        builder.add_visual_from_file(str(_unit_mesh("cup")), scale=[r, r, h], material=material)
    builder.initial_pose = upright_pose(spec)
    actor = builder.build(name=spec.name)
    if spec.shape is Shape.BALL:  # felt, not steel: a ball put on a board comes to rest there
        for body in actor._bodies:
            body.set_angular_damping(20.0)
    return actor


def build_board(scene: Any, spec: BoardSpec) -> Any:
    """Add a cutting board, fixed to the table."""
    builder = scene.create_actor_builder()
    builder.add_box_collision(half_size=BOARD_HALF_M)
    builder.add_box_visual(half_size=BOARD_HALF_M, material=_material(spec.rgb))
    builder.initial_pose = sapien.Pose([*spec.xy_m, BOARD_HALF_M[2]])
    return builder.build_static(name=f"board_{spec.side}")


def build_table(scene: Any, rgb: tuple[float, float, float]) -> Any:
    """Add the table: one box, because a floor and a modelled table cost triangles and show nothing."""
    half = (0.62, 0.75, 0.05)
    builder = scene.create_actor_builder()
    builder.add_box_collision(half_size=half)
    builder.add_box_visual(half_size=half, material=_material(rgb))
    builder.initial_pose = sapien.Pose([-0.2, 0.0, -half[2]])
    return builder.build_static(name="table")


def upright_pose(spec: ObjectSpec) -> Any:
    """Where the scene says that the object stands, as a SAPIEN pose."""
    half_yaw = spec.yaw_rad / 2
    return sapien.Pose([*spec.xy_m, spec.rest_height_m], [np.cos(half_yaw), 0, 0, np.sin(half_yaw)])


def _material(rgb: tuple[float, float, float]) -> Any:
    return sapien.render.RenderMaterial(base_color=[*rgb, 1.0], roughness=0.7, specular=0.3, metallic=0.0)


def _add_cup_collision(builder: Any, r: float, h: float) -> None:
    """A ring of twelve wall segments on a bottom plate: hollow, and convex part by part."""
    wall = _CUP_WALL * r
    builder.add_cylinder_collision(
        pose=sapien.Pose([0, 0, -h / 2 + wall / 2], [np.sqrt(0.5), 0, np.sqrt(0.5), 0]),
        radius=r - wall,
        half_length=wall / 2,
        density=_DENSITY,
    )
    middle = r - wall / 2
    for angle in np.arange(12) * np.pi / 6:
        builder.add_box_collision(
            pose=sapien.Pose(
                [middle * np.cos(angle), middle * np.sin(angle), 0],
                [np.cos(angle / 2), 0, 0, np.sin(angle / 2)],
            ),
            half_size=[wall / 2, middle * np.tan(np.pi / 12), h / 2],
            density=_DENSITY,
        )


def _cup_profile() -> np.ndarray:
    """(N, 2) radius and height of a unit cup's outline: outside up, over the rim, inside down."""
    inner = 1.0 - _CUP_WALL
    return np.array([[0.0, -0.5], [1.0, -0.5], [1.0, 0.5], [inner, 0.5], [inner, -0.42], [0.0, -0.42]])


def _mesh(shape: Shape, radius_m: float, height_m: float) -> Any:
    """Triangle mesh of an object around its origin, as trimesh."""
    import trimesh

    if shape is Shape.BALL:
        mesh = trimesh.creation.icosphere(subdivisions=2)
        mesh.apply_scale(radius_m)
    elif shape is Shape.BOX:
        mesh = trimesh.creation.box([2 * radius_m, 2 * radius_m, height_m])
    else:
        mesh = trimesh.creation.revolve(_cup_profile(), sections=_SIDES)
        mesh.apply_scale([radius_m, radius_m, height_m])
    return mesh


def _unit_mesh(kind: str) -> Path:
    """File of a unit ball or cup, made once."""
    path = cache_root() / f"unit-{kind}-1.glb"
    if not path.is_file():
        mesh = _mesh(Shape(kind), 1.0, 1.0)
        if kind == "cup":
            mesh.unmerge_vertices()  # a rim with edges, not a smooth one
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{np.random.SeedSequence().entropy}.glb")
        mesh.export(part)
        part.rename(path)
    return path


def _add_picture(builder: Any, spec: ObjectSpec, camera_m: np.ndarray, folder: Path) -> None:
    """A cut-out print on the table, drawn so that from the camera it looks like the object itself.

    The object's mesh is projected from the camera onto the table, one part for each printed shade. Near faces
    cover far ones, because they lie a hair's breadth higher.
    """
    import trimesh

    mesh = _mesh(spec.shape, spec.radius_m, spec.height_m)
    mesh.apply_transform(trimesh.transformations.rotation_matrix(spec.yaw_rad, [0, 0, 1]))
    for _ in range(2):
        mesh = mesh.subdivide()
    eye = camera_m - np.array([*spec.xy_m, 0.0])
    points = mesh.vertices + np.array([0.0, 0.0, spec.rest_height_m])
    ray = points - eye
    facing = np.einsum("ij,ij->i", mesh.face_normals, eye - points[mesh.faces].mean(axis=1)) > 0
    light = np.array([0.3, 0.2, 0.93])
    shade = np.clip(mesh.face_normals @ light, 0.0, 1.0)
    depth = np.linalg.norm(points[mesh.faces].mean(axis=1) - eye, axis=1)
    rank = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-9)  # 0 = farthest
    for level in range(_SHADES):
        chosen = facing & (np.minimum((shade * _SHADES).astype(int), _SHADES - 1) == level)
        if not chosen.any():
            continue
        corners = points[mesh.faces[chosen]]
        rays = ray[mesh.faces[chosen]]
        height = 0.0004 + 0.0012 * rank[chosen][:, None]
        scale = (height - eye[2]) / rays[..., 2]
        flat = eye + rays * scale[..., None]
        part = trimesh.Trimesh(flat.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), process=False)
        brightness = 0.45 + 0.55 * level / (_SHADES - 1)
        red, green, blue = spec.rgb
        tone = (red * brightness, green * brightness, blue * brightness)
        path = folder / f"shade-{level}.glb"
        part.export(path)
        builder.add_visual_from_file(str(path), material=_material(tone))
