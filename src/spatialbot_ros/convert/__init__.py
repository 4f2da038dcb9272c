"""Between ROS messages and this project's types; nothing here knows a node, a topic or the embedded graph.

`stamps` (integer nanoseconds), `images` and `compressed` (colour and depth), `camera_info`, `named_vectors`
(a JointState as names with numbers), with which `actions` and `states` are built, and `status` (reasons on
/diagnostics). A message that is wrong raises an error that says what is wrong and what mends it; the node
adds the topic.
"""
