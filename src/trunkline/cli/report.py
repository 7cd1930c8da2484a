"""`trunkline report`"""

from __future__ import annotations

from trunkline.cli.project_folder import find_project


def report() -> int:
    """Write reports/report.html again from what the last run found, and print its path. Trains and scores nothing."""
    from trunkline.evaluation.report import render_report
    from trunkline.files import write_text
    from trunkline.stages import REPORTS, report_contents

    root = find_project()
    path = REPORTS / "report.html"
    write_text(root / path, render_report(**report_contents(root)))
    print(path)
    return 0
