"""Starts and watches the stages; DVC alone decides which of them run, and in which order.

run_pipeline    what `trunkline run` and the Prefect flow call: DVC's own loop, with someone looking on
plan            which stages would run, and why
stage           one stage, as dvc.yaml asks for it
lock, family    one run at a time; nothing stays behind when it is ended
"""

from __future__ import annotations

from trunkline.pipeline.walk import OnStage, Outcome, Work, run_pipeline

__all__ = ["OnStage", "Outcome", "Work", "run_pipeline"]
