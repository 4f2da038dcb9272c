"""What the nodes decide, without ROS: numpy in, numpy out, time passed in as integer nanoseconds.

In the order of the data path: `rgbd_pairing` (over `stamped_buffer`), `freshness`, `observation_builder` and
`step_pacing` make observations of images; `action_schedule`, `pose_history` and `action_target` make a target
pose of an action; `safety` is the guard (`guard_limits`, `guard_values`, `guard_checks`, `motion`, and
`kinematics` over `arm_models`); `arm_motion` and `arm_supervisor` say who may move the arm.

Beside them: `watchdog`, `rate_meter`, `latency`, `teleop_mapping`, `teleop_keyboard`. `reasons` names every
refusal, `parameter` describes what a user may set.
"""
