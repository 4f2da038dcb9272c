"""The rclpy shells: each file reads as parameters, topics, callbacks; decisions are in `logic`.

`camera_node` (or `sim_node`, `replay_node`) gives images, `policy_node` answers with actions, `arm_node`
guards the robot; `teleop_node`, `recorder_node` and `operator_node` serve the operator. `parameters`,
`reporting` and `running` are what all of them share.
"""
