"""Ways to move a Franka, one file each, behind `backend.ArmBackend`; `choose` knows them by name.

`cartesian_pose`, `joint_trajectory` and `moveit_servo` publish to a controller; `libfranka` drives the robot
from a process of its own (`libfranka_process`, with `joint_motion` as its trajectory generator).
`franka_state` tells whether the robot is able to move, `gripper` moves the fingers.
"""
