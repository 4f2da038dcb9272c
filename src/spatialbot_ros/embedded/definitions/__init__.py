"""Types that `rosbags` lacks, as `<package>.<Name>.<msg, srv or action>` in ROS's own text form.

Names, types and constants are those of ROS 2 Humble, control_msgs 4 and franka_msgs 2; a test compares them
with an installation where there is one.
"""
