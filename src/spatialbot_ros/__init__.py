"""The ROS 2 graph around the policy: camera -> policy -> guard -> Franka.

Read in this order: `logic` (numpy only: pairing, targets, guard), `convert` (messages <-> types), `cameras`
and `arms` (where frames come from, ways to move a Franka), `nodes` (rclpy shells: parameters, topics,
callbacks) and `embedded` (the same graph on a machine without ROS 2).
"""
