"""What the nodes decide, without ROS: numpy in, numpy out, time passed in as integer nanoseconds.

In the order of the data path: `rgbd_pairing`, `freshness`, `observation_builder`, `step_pacing` (images and
states become observations), `action_schedule`, `action_target` (an action becomes a target pose), `safety`
with `kinematics` (the guard), `watchdog`, `latency` and `teleop_mapping` beside them. `reasons` names every
refusal, `parameter` describes what a user may set.
"""
