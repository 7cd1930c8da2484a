"""`trunkline schema`"""

from __future__ import annotations

import json


def schema() -> int:
    """Print the JSON Schema of params.yaml, for editors that complete and check while you type."""
    from trunkline.project import Project

    print(json.dumps(Project.model_json_schema(), indent=1))
    return 0
