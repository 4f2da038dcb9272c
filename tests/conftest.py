"""Settings of all tests: hypothesis has no deadline, since a busy machine is no failure."""

from hypothesis import settings

settings.register_profile("spatialbot", deadline=None)
settings.load_profile("spatialbot")
