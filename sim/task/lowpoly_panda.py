"""The Panda with visual meshes of a few hundred triangles a link: on a CPU renderer triangles are the cost.

ManiSkill's own visual meshes hold 135,000 triangles. They are decimated once from the installed package into
a cache folder; collision shapes, masses and joints stay those of ManiSkill's URDF.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

TRIANGLES_PER_LINK = 900
_FORMAT = "1"  # change when the recipe below changes, so that old caches are not used


def cache_root() -> Path:
    """Folder for files that can be made again: $SPATIALBOT_CACHE, or `spatialbot` in the user's cache."""
    if "SPATIALBOT_CACHE" in os.environ:
        return Path(os.environ["SPATIALBOT_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "spatialbot"


def lowpoly_urdf() -> Path:
    """Path of the Panda URDF with simplified visual meshes; makes it on first use (about two seconds)."""
    import mani_skill

    source = Path(mani_skill.PACKAGE_ASSET_DIR) / "robots" / "panda" / "panda_v2.urdf"
    text = source.read_text()
    key = hashlib.sha256(f"{_FORMAT} {TRIANGLES_PER_LINK} {source} {text}".encode()).hexdigest()[:16]
    target = cache_root() / f"panda-{key}"
    urdf = target / "panda.urdf"
    if urdf.is_file():
        return urdf
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".panda-", dir=target.parent))
    for name in sorted(set(re.findall(r"meshes/visual/([\w.]+\.glb)", text))):
        _decimate(source.parent / "franka_description" / "meshes" / "visual" / name, work / name)
    text = re.sub(r'filename="franka_description/meshes/visual/([\w.]+)"', r'filename="\1"', text)
    text = text.replace('filename="franka_description', f'filename="{source.parent}/franka_description')
    (work / urdf.name).write_text(text)
    srdf = source.with_suffix(".srdf")
    if srdf.is_file():  # names the link pairs that may touch; SAPIEN looks for it beside the URDF
        shutil.copy(srdf, work / "panda.srdf")
    try:
        work.rename(target)
    except OSError:
        shutil.rmtree(work)
        if not urdf.is_file():  # otherwise another worker was faster: its folder is the same
            raise
    return urdf


def _decimate(source: Path, target: Path) -> None:
    """Write `source` with about TRIANGLES_PER_LINK triangles, each part keeping its plain colour."""
    import numpy as np
    import trimesh

    scene = trimesh.load(source, force="scene")
    total = sum(len(part.faces) for part in scene.geometry.values())
    simple = trimesh.Scene()
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        part = scene.geometry[name]
        faces = max(24, round(TRIANGLES_PER_LINK * len(part.faces) / total))
        colour = getattr(part.visual.material, "main_color", np.array([220, 220, 220, 255]))
        mesh = trimesh.Trimesh(part.vertices, part.faces)
        if len(mesh.faces) > faces:
            mesh = mesh.simplify_quadric_decimation(face_count=faces)
        mesh.apply_transform(transform)
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=colour, metallicFactor=0.1, roughnessFactor=0.6, doubleSided=True
        )
        mesh.visual = trimesh.visual.TextureVisuals(material=material)
        simple.add_geometry(mesh, geom_name=f"{source.stem}_{len(simple.geometry)}")
    simple.export(target)
