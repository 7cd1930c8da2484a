"""Files are whole or absent, and an altered byte is noticed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.chance import hash_fractions, numpy_stream, stream_seed
from trunkline.errors import ArtifactError, EnvironmentFault
from trunkline.files import MANIFEST, atomic_path, check_seal, read_json, seal, to_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_killed_at_any_point_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    code = textwrap.dedent(
        """
        import os, signal, sys
        import trunkline.files as files
        calls = 0
        def deadly(real):
            def call(*args, **kwargs):
                global calls
                calls += 1
                if calls == int(sys.argv[2]):
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            return call
        for module, name in [(os, "fsync"), (files.Path, "replace"), (files.Path, "chmod"), (os, "open")]:
            setattr(module, name, deadly(getattr(module, name)))
        files.write_text(files.Path(sys.argv[1]), "new" * 100_000)
        """
    )
    outcomes = []
    for instant in range(1, 9):
        write_text(path, "old")
        ended = subprocess.run([sys.executable, "-c", code, str(path), str(instant)], check=False)
        assert path.read_text() in ("old", "new" * 100_000)
        outcomes.append(ended.returncode)
    assert -signal.SIGKILL in outcomes, "no instant was hit"
    assert outcomes[-1] == 0, "the last instants lie behind the end"


def test_a_full_disk_is_a_plain_sentence(tmp_path: Path) -> None:
    import resource

    code = (
        "import resource, sys; from pathlib import Path; from trunkline.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_text(Path(sys.argv[1]), 'x' * 5000)\n"
        "except Exception as fault: print(type(fault).__name__, fault)"
    )
    assert resource.RLIMIT_FSIZE
    path = tmp_path / "big.txt"
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("EnvironmentFault")
    assert "big.txt: cannot be written" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_plain_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EnvironmentFault, match="cannot be written"):
        write_text(tmp_path / "x.txt", "x")


def sealed(folder: Path) -> Path:
    (folder / "a.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "b.bin").write_bytes(b"b")
    seal(folder, ["a.bin", "b.bin"], rows=3)
    return folder


def test_sealing_removes_what_a_killed_writer_left(tmp_path: Path) -> None:
    (tmp_path / ".a.bin.x1y2.tmp").write_bytes(b"half")
    sealed(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", "b.bin", MANIFEST}


def test_a_seal_tells_its_facts(tmp_path: Path) -> None:
    assert check_seal(sealed(tmp_path))["rows"] == 3


@given(bit=st.integers(0, 1024 * 8 - 1))
def test_every_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, bit: int) -> None:
    folder = sealed(tmp_path_factory.mktemp("sealed"))
    content = bytearray((folder / "a.bin").read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.bin: was altered"):
        check_seal(folder)
    check_seal(folder, ["b.bin"])


def test_a_truncated_or_missing_file_is_noticed(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    (folder / "a.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match="was altered"):
        check_seal(folder)
    (folder / "a.bin").unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        check_seal(folder)


def test_a_broken_manifest_says_what_to_do(tmp_path: Path) -> None:
    folder = sealed(tmp_path)
    (folder / MANIFEST).write_text('{"files": ')
    with pytest.raises(ArtifactError, match="not readable JSON"):
        check_seal(folder)


def test_json_has_no_nan_and_keeps_its_order(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": np.float32(0.5), "a": float("nan"), "c": np.arange(2)})
    assert list(read_json(tmp_path / "x.json")) == ["b", "a", "c"]
    assert "NaN" not in to_json({"a": [float("inf")]})


def test_streams_differ_by_every_part_of_their_name() -> None:
    names = [("a",), ("a", 1), ("a", "1"), ("a1",), ("a", 1, 2), ("a", 12)]
    seeds = {stream_seed(seed, *name) for seed in (0, 1) for name in names}
    assert len(seeds) == 2 * len(names)


def test_a_stream_does_not_depend_on_the_process() -> None:
    assert numpy_stream(1, "x").integers(0, 10**9) == numpy_stream(1, "x").integers(0, 10**9)
    assert stream_seed(1, "shuffle", 0) == 7560174086123418964


@given(rows=st.lists(st.binary(), min_size=1, max_size=50), extra=st.lists(st.binary(), max_size=20))
def test_a_keys_fraction_does_not_depend_on_other_rows(rows: list[bytes], extra: list[bytes]) -> None:
    alone = hash_fractions(rows, "salt")
    together = hash_fractions([*extra, *rows], "salt")[len(extra) :]
    assert (alone == together).all()
    assert ((alone >= 0) & (alone < 1)).all()
