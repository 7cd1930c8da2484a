"""A user's project in a folder of its own, and the commands that a user gives there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML

import trunkline
from trunkline.files import read_json
from trunkline.project import read_yaml
from trunkline.registry.store import CHAMPION, Registry

ROOT = Path(__file__).parents[2]
NEEDED = (
    ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".ci/in-env.sh", ".gitignore", "dvc.yaml", "requirements.lock",
)  # fmt: skip
FOLDERS = ("src/trunkline", "flows")
MODELS = ("models/shared", "models/alone", "models/export")


class Size(NamedTuple):
    """How much is replayed.

    Attributes:
        rows: Of each month; None: all.
        start: Months that lie there before the first run; each later one lands by itself.
        regrets: The tasks, and what each may lose in service; the fewer its labels in a month, the more.
        poisons: Spoilt drops.
        halves: Half months that must pass.
        width: Of the trunk's two layers.
        epochs: Passes over the training rows.
        batch: Rows of a step.
        draws: Of every bootstrap.
        least: Rows of a drop that drift is looked for in, and of each class.
    """

    rows: int | None = None
    start: int = 3
    regrets: Mapping[str, float] = MappingProxyType(
        {"cancelled": 0.05, "arr15": 0.01, "arr60": 0.02, "arr_delay": 0.02, "air_time": 0.01}
    )
    poisons: int = 12
    halves: int = 8
    width: int = 128
    epochs: int = 4
    batch: int = 1024
    draws: int = 500
    least: tuple[int, int] = (1000, 100)


FULL = Size()
QUICK = Size(1500, 9, {"arr15": 0.05, "arr60": 0.05, "arr_delay": 0.2}, 12, 8, 32, 3, 128, 200, (500, 5))
TINY = QUICK._replace(start=10, poisons=3, halves=2)  # of a test


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    said: str


class Place:
    """The project.

    Args:
        root: Its folder, which is made.
        size: Of the replay.
    """

    def __init__(self, root: Path, size: Size) -> None:
        self.root, self.size = root, size
        home = Path(trunkline.__file__).parents[1]
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
            "PYTHONPATH": str(home), "PREFECT_HOME": str(root / ".trunkline/prefect"), "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }  # fmt: skip
        self._lay_down()

    @property
    def name(self) -> str:
        """The model's name."""
        return "flights"

    @property
    def registry(self) -> Registry:
        """The versions."""
        return Registry(self.root, self.name)

    @property
    def champion(self) -> int | None:
        """The version in service."""
        return self.registry.aliases().get(CHAMPION)

    def _lay_down(self) -> None:
        for name in NEEDED:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "data/incoming").mkdir(parents=True)
        with open(self.root / "params.yaml", "w") as handle:
            YAML().dump(params(self.size), handle)
        for words in (["init", "--quiet", "."], ["add", "."], ["commit", "--quiet", "-m", "The project"]):
            self._git(*words)

    def _git(self, *words: str) -> None:
        who = ["-c", "user.name=replay", "-c", "user.email=replay@localhost"]
        subprocess.run(["git", *who, *words], cwd=self.root, check=True)

    def call(self, *words: str) -> Ended:
        """Run `trunkline WORDS` or `dvc WORDS` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.root, env=self.environment, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout)

    def retrain(self, *more: str) -> Ended:
        """Do what a line of crontab does."""
        return self.call("trunkline", "run", "--promote", *more)

    def scheduled(self) -> Ended:
        """Do the same by a real Prefect server, as `trunkline schedule` does at its hour."""
        return self.call("trunkline", "schedule", "--once", "--promote", "--port", "0")

    def land(self, name: str, table: pa.Table) -> None:
        """Put a drop into data/incoming/, beside first and then in one step."""
        path = self.root / "data/incoming" / name
        pq.write_table(table, path.with_name(f".{name}"))
        path.with_name(f".{name}").rename(path)

    def take_away(self, name: str) -> None:
        """Remove a drop."""
        (self.root / "data/incoming" / name).unlink()

    def models(self) -> str:
        """Return a hash of every byte of every model."""
        whole = hashlib.sha256()
        for folder in MODELS:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file():
                    whole.update(path.relative_to(self.root).as_posix().encode() + path.read_bytes())
        return whole.hexdigest()

    def read(self, path: str) -> Any:
        """Return the content of a JSON file."""
        return read_json(self.root / path)


def params(size: Size) -> dict[str, Any]:
    """Return params.yaml: the demo's, with a split that follows the newest month."""
    content: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    compared, of_class = size.least
    content["data"]["source"] = {"kind": "files"}
    content["tasks"] = {name: content["tasks"][name] for name in size.regrets}
    content["validation"] |= {"min_class_rows": of_class}
    content["validation"]["drift"] |= {"min_rows": compared}
    content["split"] = {
        "kind": "time", "column": "time_hour", "train": "6 months", "validation": "1 month", "test": "1 month",
        "timezone": "America/New_York",
    }  # fmt: skip
    content["trunk"] = {"width": size.width, "depth": 2}
    content["training"] |= {"seeds": 1, "epochs": size.epochs, "batch": size.batch}
    content["evaluation"] |= {
        "draws": size.draws,
        "slices": [],
        "gates": {"arr15": {"min_value": 0.55}, "arr60": {"min_value": 0.55}},
    }
    content["export"] |= {"parity_rows": 300}
    content["promotion"] = {"max_regret": dict(size.regrets)}
    return content
