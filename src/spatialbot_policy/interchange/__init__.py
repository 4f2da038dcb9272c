"""Episodes to and from the forms that others read and write; every crossing says what it could not carry.

Out of a data set, in the order data takes: `steps` reads an episode step by step without holding it whole;
`conversations_export` writes SpatialQA-E conversations, `lerobot_export` a LeRobot v3 data set (video in
`lerobot_video`, statistics in `lerobot_stats`, names and units in `lerobot_format`), `parquet_export` one row
per step for Hugging Face `datasets`. Into a data set: `rosbag_import` takes recordings of ROS 2 through a
mapping of topics, `lerobot_import` LeRobot v3, `pose_json_import` the released SpatialQA-E layout; where no
actions were recorded, `deltas` computes them from tool poses and reports on them, and `step_writer` writes
what was found as an episode. `target_directory` lets nothing half written take a name, `image_bytes` is the
one place where pixels become PNG, and `loss_report` is printed and kept beside every result.
"""
