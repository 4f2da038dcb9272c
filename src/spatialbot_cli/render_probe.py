"""Renders one small picture with SAPIEN; a program of its own, since a bad driver ends the process."""

from __future__ import annotations

import json
import sys

SIDE_PX = 32


def probe() -> dict[str, object]:
    """Render a box in front of the camera.

    Returns:
        `device`: the name of the Vulkan device; `sees_box`: whether the picture shows the box and only there.

    Raises:
        RuntimeError: SAPIEN found no device that it accepts.
    """
    import sapien

    summary = sapien.render.get_device_summary()
    scene = sapien.Scene([sapien.physx.PhysxCpuSystem(), sapien.render.RenderSystem(sapien.Device("cpu"))])
    builder = scene.create_actor_builder()
    builder.add_box_visual(half_size=[0.2, 0.2, 0.2])
    builder.build_kinematic("box")
    camera = scene.add_camera("probe", SIDE_PX, SIDE_PX, 1.0, 0.05, 5.0)
    camera.entity.set_pose(sapien.Pose([-1.0, 0.0, 0.0]))
    scene.update_render()
    camera.take_picture()
    alpha = camera.get_picture("Color")[..., 3]
    names = [line.split(":", 1)[1].strip() for line in summary.splitlines() if line.startswith("GPU:")]
    sees_box = bool(alpha[SIDE_PX // 2, SIDE_PX // 2] > 0 and alpha[0, 0] == 0)
    return {"device": names[0] if names else "unnamed device", "sees_box": sees_box}


if __name__ == "__main__":
    json.dump(probe(), sys.stdout)
