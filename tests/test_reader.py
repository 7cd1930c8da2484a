from __future__ import annotations

import csv
import gzip
import io
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.data import reader
from trunkline.data.reader import read_schema, read_table
from trunkline.errors import DataError, EnvironmentFault


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True, **options)
    return sink.getvalue()


SMALL = pa.table({"a": [1, 2, 3], "a.b": [4.5, None, 6.5], "word": ["x", "y", None]})


def read(tmp_path: Path, content: bytes, **options: Any) -> pa.Table:
    path = tmp_path / "drop"
    path.write_bytes(content)
    return read_table(path, options.pop("null_values", [""]), **options)


def test_parquet_is_known_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(parquet(SMALL))
    assert read_table(path, []).equals(SMALL)
    assert read_schema(path).names == ["a", "a.b", "word"]


def test_only_the_asked_columns_are_read_by_their_whole_name(tmp_path: Path) -> None:
    assert read(tmp_path, parquet(SMALL), columns={"a", "nowhere"}).column_names == ["a"]
    assert read(tmp_path, b"a,b\n1,2\n", columns={"b"}).to_pydict() == {"b": ["2"]}
    assert read(tmp_path, b"a,b\n1,2\n3,4\n", columns=set()).num_rows == 2


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2.50\n,x y\n",
        b"a;b\n1;2.50\n;x y\n",
        b"a\tb\n1\t2.50\n\tx y\n",
        b"a|b\n1|2.50\n|x y\n",
        b"a,b\r\n1,2.50\r\n,x y\r\n",
        b"a,b\r1,2.50\r,x y\r",
        b"\xef\xbb\xbfa,b\n1,2.50\n,x y\n",
        b"\n\na,b\n\n1,2.50\n\n\n,x y",
        b'"a","b"\n"1","2.50"\n"","x y"\n',
        gzip.compress(b"a,b\n1,2.50\n,x y\n"),
    ],
    ids=["comma", "semicolon", "tab", "bar", "crlf", "cr", "bom", "blank lines", "quoted", "gzip"],
)
def test_csv_is_read_in_every_usual_form_and_every_cell_is_text(tmp_path: Path, content: bytes) -> None:
    table = read(tmp_path, content)
    assert table.to_pydict() == {"a": ["1", None], "b": ["2.50", "x y"]}
    assert table.schema.types == [pa.string(), pa.string()]


def test_cells_that_hold_the_delimiters_of_other_files_do_not_mislead(tmp_path: Path) -> None:
    assert read(tmp_path, b"a;b\n1,5;2,5\n3,5;4,5\n").to_pydict() == {"a": ["1,5", "3,5"], "b": ["2,5", "4,5"]}
    assert read(tmp_path, b"only\nx;y\n").to_pydict() == {"only": ["x;y"]}


def test_a_nested_column_does_not_stand_in_for_one_that_is_named_like_its_path(tmp_path: Path) -> None:
    table = pa.table({"a": [{"b": 1}], "a.b": [2]})
    assert read(tmp_path, parquet(table), columns={"a.b"}).to_pydict() == {"a.b": [2]}


def test_quoted_line_ends_are_kept_in_files_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK_BYTES", 64)
    cells = [f"line\nand\r\nline {row}" for row in range(40)]
    content = "a,b\n" + "".join(f'1,"{cell}"\n' for cell in cells)
    assert read(tmp_path, content.encode())["b"].to_pylist() == cells


def test_a_word_means_no_value_only_where_it_is_named(tmp_path: Path) -> None:
    namibia = b"country,b\nNA,1\n,2\n"
    assert read(tmp_path, namibia)["country"].to_pylist() == ["NA", None]
    assert read(tmp_path, namibia, null_values=["NA"])["country"].to_pylist() == [None, ""]


def test_surrounding_blanks_belong_to_names_and_cells(tmp_path: Path) -> None:
    assert read(tmp_path, b" a ,b\n 1,2\n").to_pydict() == {" a ": [" 1"], "b": ["2"]}


def test_a_huge_cell_and_many_columns_are_no_fault(tmp_path: Path) -> None:
    huge = "x" * 10_000_000
    assert read(tmp_path, f'a,b\n1,"{huge}"\n'.encode())["b"][0].as_py() == huge
    names = [f"c{i}" for i in range(5000)]
    assert read(tmp_path, ",".join(names).encode() + b"\n" + b",".join([b"7"] * 5000)).num_columns == 5000


BROKEN = {
    "empty": (b"", "is empty (0 bytes)"),
    "blank": (b"\n \n", "only blank lines"),
    "header only": (b"a,b\n", "no rows"),
    "parquet without rows": (parquet(SMALL.slice(0, 0)), "no rows"),
    "parquet cut off": (parquet(SMALL)[:-9], "cut off"),
    "parquet without its head": (b"XXXX" + parquet(SMALL)[4:], "b'XXXX'"),
    "parquet without a footer": (b"PAR1" + b"\x00" * 20 + b"PAR1", "corrupt Parquet"),
    "parquet with a name twice": (parquet(pa.table([[1], [2]], names=["a", "a"])), "more than once, such as 'a'"),
    "gzip cut off": (gzip.compress(b"a,b\n1,2\n" * 99)[:-9], "cannot be unpacked"),
    "gzip of parquet": (gzip.compress(parquet(SMALL)), "unpack it once"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "utf-16 without mark": ("a,b\n1,2\n".encode("utf-16-be"), "UTF-16"),
    "latin-1": ("a,b\n1,2\nZürich,3\n".encode("latin-1"), "byte 9 (line 3) is 0xFC"),
    "latin-1 after the sample": (b"a,b\n" + b"1,2\n" * 300_000 + b"\xe9,2\n", "byte 1200004 (line 300002) is 0xE9"),
    "zip": (b"PK\x03\x04....", "zip archive or an Excel"),
    "html": (b"\n <html><body>", "HTML"),
    "json": (b'{"a": 1}', "JSON"),
    "pickle": (pickle.dumps({"a": [1]}), "Python pickle"),
    "long row": (b"a,b\n1,2\n\n3,4,5\n", "data row 2 has another number of cells (3) than the header (2): '3,4,5'"),
    "short row": (b"a,b\n1,2\n3\n", "data row 2 has another number of cells (1) than the header (2)"),
    "open quote": (b'a,b\n1,2\n3,"x\n4,5\n', "line 3 opens a quote"),
    "open quote closed by the next": (b'a,b\n1,"abc\n2,"def"\n3,4\n', "line 2 opens a quote"),
    "open quote in the header": (b'"a,b\n1,2\n', "line 1"),
    "name twice": (b"a,b,a\n1,2,3\n", "more than once, such as 'a'"),
    "no name": (b",b\n1,2\n", "column 1 of 2 has no name"),
    "blank name": (b"a, \n1,2\n", "column 2 of 2 has no name"),
    "NUL": (b"a,b\n1,\x002\n", "byte 6 (line 2) is NUL"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_line_that_names_file_and_place(tmp_path: Path, name: str) -> None:
    content, words = BROKEN[name]
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'drop'}: ")
    assert words in message
    assert "\n" not in message and len(message) < 400 + len(str(tmp_path))


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path, [])
    with pytest.raises(DataError, match="is missing"):
        read_table(tmp_path / "nowhere.csv", [])


def test_a_file_that_the_system_withholds_is_a_fault_of_the_environment(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(EnvironmentFault, match=r"loop\.csv: cannot be read"):
        read_table(loop, [])


def test_parquet_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = parquet(SMALL)
    for length in range(0, len(whole), 7):
        with pytest.raises(DataError):
            read(tmp_path, whole[:length])


def test_a_flipped_bit_in_parquet_is_refused_or_harmless(tmp_path: Path) -> None:
    whole = parquet(pa.table({"a": list(range(200)), "word": [f"w{i}" for i in range(200)]}))
    refused = 0
    for place in range(4, len(whole) - 8, 11):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        try:
            table = read(tmp_path, bytes(flipped))
        except DataError:
            refused += 1
        else:
            held = {name: values for name, values in table.to_pydict().items() if name in ("a", "word")}
            assert all(values == pq.read_table(io.BytesIO(whole))[name].to_pylist() for name, values in held.items())
    assert refused > 50


ODD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=12)
CELL = ODD | st.sampled_from(['"', '""', ",", ";", "\t|", "\n", "\r\n", "\r", " ", "'", '5" pipe', "\ufeff", "ß漢字😀"])


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quote_all=st.booleans(),
    form=st.sampled_from(["plain", "bom", "gzip"]),
)
def test_any_text_comes_back_from_csv_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], delimiter: str, quote_all: bool, form: str
) -> None:
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([("a", "b", "c"), *rows])
    content = text.getvalue().encode("utf-8-sig" if form == "bom" else "utf-8")
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(gzip.compress(content) if form == "gzip" else content)
    table = read_table(path, [])
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows
