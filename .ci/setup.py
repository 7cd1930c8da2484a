"""Makes .venv from requirements.lock, once; heals it when it is broken; costs a moment when it is right.

Standard library only. Any Python 3 can read this file: one that is too old or too new looks for a better one and
hands over. A stamp, written last, holds the hash of everything the environment was made from: no stamp or another
one means that the last set-up was interrupted or is out of date.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, List, Optional, Tuple  # noqa: UP035 - old Pythons read this file

Version = Tuple[int, int]  # noqa: UP006
OLDEST, NEWEST = (3, 11), (3, 13)
RETRY = "python3 .ci/setup.py"


class SetupError(Exception):
    """Why the environment could not be made, and what to do."""


def version_of(python: str) -> Optional[Version]:  # noqa: UP045
    """Return (major, minor) of a Python that starts and can make environments, None for another."""
    question = "import sys, venv, ensurepip; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    return (int(words[0]), int(words[1])) if answer.returncode == 0 and len(words) == 2 else None


def is_supported(version: Optional[Version]) -> bool:  # noqa: UP045
    """Whether trunkline runs on this version."""
    return version is not None and OLDEST <= version <= NEWEST


def find_python() -> str:
    """Return the first Python on PATH that trunkline runs on, the oldest supported version first.

    Raises:
        SetupError: There is none.
    """
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        python = shutil.which(f"python3.{minor}")
        if python and is_supported(version_of(python)):
            return python
    raise SetupError(
        f"trunkline needs Python 3.{OLDEST[1]} to 3.{NEWEST[1]} with its venv module; this one is "
        f"{sys.version.split()[0]} and PATH has no other.\n"
        f"  Install one (Debian: apt-get install python3.11 python3.11-venv), then: {RETRY}"
    )


class Environment:
    """The .venv of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        self.lock = root / "requirements.lock"
        self.stamp = self.folder / "stamp"
        self.log = self.folder / "setup.log"

    def digest(self, version: Version) -> str:
        """Return the hash of all that decides what the environment holds."""
        text = hashlib.sha256(b"%d.%d" % version)
        for source in (self.lock, self.root / "pyproject.toml", self.root / ".ci" / "setup.py"):
            text.update(source.read_bytes())
        return text.hexdigest()

    def working_version(self) -> Optional[Version]:  # noqa: UP045
        """Return the version of .venv's Python; None where it is absent, broken or made for another folder."""
        try:
            made_here = str(self.folder) in (self.folder / "pyvenv.cfg").read_text()
        except OSError:
            return None
        version = version_of(str(self.python)) if made_here else None
        return version if is_supported(version) else None

    def is_ready(self) -> bool:
        """Whether the last set-up was completed from the files as they are now, and its Python still starts."""
        version = self.working_version()
        with contextlib.suppress(OSError):
            return version is not None and self.stamp.read_text() == self.digest(version)
        return False

    def make(self) -> None:
        """Create the environment where it is missing or broken, and install what the lock says.

        Raises:
            SetupError: A step failed; the end of its log is in the message.
        """
        say("Setting up .venv from requirements.lock, once; a few minutes (log: .venv/setup.log)")
        version = self.working_version()
        if version is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.run("environment", [sys.executable, "-m", "venv", str(self.folder)])
            version = sys.version_info[:2]
        self.stamp.unlink(missing_ok=True)
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--progress-bar", "off"]
        # Alone and first: an exact pin keeps the build of torch that this machine is offered.
        self.run("torch", [*pip, self.pin("torch"), "-c", str(self.lock)])
        self.run("other packages", [*pip, "-r", str(self.lock)])
        self.run("trunkline", [*pip, "--no-deps", "--no-build-isolation", "-e", str(self.root)])
        unfinished = self.stamp.with_suffix(".new")
        unfinished.write_text(self.digest(version))
        unfinished.replace(self.stamp)

    def pin(self, name: str) -> str:
        """Return the line of the lock that pins `name`."""
        for line in self.lock.read_text().splitlines():
            if line.partition("==")[0].strip().lower() == name:
                return line.strip()
        raise SetupError(f"requirements.lock: has no line {name}==VERSION; restore it: git checkout requirements.lock")

    def run(self, what: str, command: List[str]) -> None:  # noqa: UP006
        """Run one step with its output in the log; show the end of the log where it fails."""
        began = time.monotonic()
        self.folder.mkdir(exist_ok=True)
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            log.flush()
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        if done.returncode:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise SetupError(
                f"{last}\n\nSet-up of {what} failed; above is the end of .venv/setup.log.\n  Again: {RETRY}"
            )
        say(f"  {what:<16} {time.monotonic() - began:4.0f} s")


def say(text: str) -> None:
    """Print at once, so that a person sees where the minutes go."""
    print(text, flush=True)


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Wait until no other set-up of this checkout is running."""
    handle = os.open(str(root), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_up(root: Path) -> None:
    """Make the .venv of `root` ready.

    Raises:
        SetupError: No supported Python, or a step failed.
    """
    environment = Environment(root)
    if environment.is_ready():
        return
    if not is_supported(sys.version_info[:2]) or version_of(sys.executable) is None:
        python = find_python()
        os.execv(python, [python, __file__])
    with one_at_a_time(root):
        if not environment.is_ready():
            environment.make()
            say("Ready.")


def main() -> int:
    """Make .venv ready; return the exit code."""
    try:
        set_up(Path(__file__).resolve().parent.parent)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 5
    except OSError as problem:
        print(f"Set-up failed: {problem}. Free space or fix the permission, then: {RETRY}", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        print(f"\nInterrupted; this goes on where it stopped: {RETRY}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
