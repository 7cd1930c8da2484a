"""What all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A shared machine makes single examples slow: time is no property of the code.
settings.register_profile("trunkline", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.load_profile("trunkline")
