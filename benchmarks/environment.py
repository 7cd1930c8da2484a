"""An environment of its own for packages that trunkline does not need, made once from PyPI."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(name: str, requirements: Path, sees_torch: bool = False) -> Path:
    """Return the Python of an environment with the packages.

    Args:
        name: Of its folder in .trunkline/.
        requirements: What is installed there.
        sees_torch: Whether it sees the packages that stand beside torch here, too: torch is not downloaded again, and
            both environments run on the same.
    """
    folder = ROOT / ".trunkline" / name
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if sees_torch:
        _see_torch(python)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return python


def _see_torch(python: Path) -> None:
    """Let an environment look for packages where torch is, behind its own."""
    found = importlib.util.find_spec("torch")
    assert found is not None and found.origin is not None
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    own = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    (own / "torch.pth").write_text(f"{Path(found.origin).parents[1]}\n")
