"""Where images come from when no ROS driver gives them: `frame_source` says what a source is.

`realsense` reads a RealSense through its SDK: a connected camera, a recorded file or a software device.
`camera_clock` turns a camera's own stamps into the host's.
"""
