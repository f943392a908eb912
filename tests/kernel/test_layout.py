"""C and Python mean the same: every structure and constant of `bpf/lib/record.h` is compared."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentguard.kernel import _layout as layout

if TYPE_CHECKING:
    import numpy as np

HEADER = Path(__file__).parents[2] / "bpf" / "lib" / "record.h"
STRUCTS = {
    "ag_head": layout.HEAD, "ag_record": layout.RECORD, "ag_config": layout.CONFIG, "ag_configs": layout.CONFIGS, "ag_guard": layout.GUARD,
    "ag_sum": layout.PLACE,
}  # fmt: skip
TYPES = """
typedef unsigned char __u8; typedef unsigned short __u16; typedef unsigned int __u32;
typedef unsigned long long __u64; typedef long long __s64;
"""


@pytest.fixture(scope="module")
def of_c(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Return offsets, sizes and constants as a C compiler has them."""
    compiler = shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    lines = [f"#include <stddef.h>\n#include <stdio.h>\n{TYPES}", f'#include "{HEADER}"', "int main(void) {"]
    for name, shape in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        lines += [
            f'printf("{name}.{each} %zu\\n", offsetof(struct {name}, {each}));' for each in fields_of(shape)
        ]
    lines += [f'printf("{each} %d\\n", {each});' for each in constants()]
    folder = tmp_path_factory.mktemp("layout")
    (folder / "layout.c").write_text("\n".join([*lines, "return 0; }"]))
    subprocess.run([compiler, "-o", folder / "layout", folder / "layout.c"], check=True, capture_output=True)
    said = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in said.splitlines())}


def fields_of(shape: np.dtype[np.void]) -> dict[str, int]:
    """Return the C name and the offset of each field; a record begins with the fields of a head."""
    assert shape.names is not None
    assert shape.fields is not None
    heads = layout.HEAD.names if shape is layout.RECORD else ()
    return {f"head.{name}" if name in (heads or ()) else name: shape.fields[name][1] for name in shape.names}


def constants() -> list[str]:
    """Return the names of the header's enumerators and of the numbers that Python knows too."""
    found = re.findall(r"^\t(AG_[A-Z_]+) = ", HEADER.read_text(), re.MULTILINE)
    return [*found, "AG_VERSION", "AG_DATA", "AG_SHORT", "AG_PID_BITS", "AG_FAST", "AG_MAX_PARTS"]


@pytest.mark.parametrize("name", STRUCTS)
def test_structure_is_the_same_in_c_and_in_python(of_c: dict[str, int], name: str) -> None:
    shape = STRUCTS[name]
    assert of_c[name] == shape.itemsize
    assert {field: of_c[f"{name}.{field}"] for field in fields_of(shape)} == fields_of(shape)


def test_constants_are_the_same_in_c_and_in_python(of_c: dict[str, int]) -> None:
    python = {f"AG_{kind.name}": kind.value for kind in layout.Kind}
    python |= {f"AG_{flag.name}": flag.value for flag in layout.Flag}
    python |= {f"AG_DROP_{drop.name}": drop.value for drop in layout.Drop}
    python |= {
        "AG_VERSION": layout.VERSION, "AG_DATA": layout.DATA, "AG_SHORT": layout.SHORT, "AG_PID_BITS": layout.PID_BITS, "AG_FAST": layout.FAST, "AG_DROPS": layout.DROPS,
        "AG_ABSENT": layout.ABSENT, "AG_REPEATED": layout.REPEATED,
        "AG_EACH_IO": layout.EACH_IO, "AG_EACH_OPEN": layout.EACH_OPEN,
    }  # fmt: skip
    only_in_c = {"AG_MAX_KIND", "AG_MAX_PARTS"}
    assert {name: value for name, value in of_c.items() if name.isupper() and name not in only_in_c} == python


def test_slots_of_a_ring_are_a_header_longer() -> None:
    assert layout.SEC_SLOT.itemsize == layout.RECORD.itemsize + 8
    assert layout.IO_SLOT.itemsize == layout.HEAD.itemsize + 8
    assert layout.SHORT_SLOT.itemsize == layout.SEC_SLOT.itemsize - layout.DATA + layout.SHORT


# What the calls that are of interest are called by in the 32-bit ABI of x86: open is 5 there, where fstat is here.
I386 = [
    3, 4, 5, 8, 9, 10, 11, 14, 15, 16, 21, 22, 23, 26, 37, 38, 39, 40, 46, 52, 61, 70, 71, 83, 87, 88, 92, 93, 94, 95, 102,
    110, 128, 129, 145, 146, 164, 170, 180, 181, 182, 185, 187, 193, 194, 198, 203, 204, 207, 208, 210, 212, 213, 214, 217,
    238, 239, 270, 283, 288, 295, 296, 297, 298, 301, 302, 303, 304, 306, 310, 313, 333, 334, 336, 337, 342, 345, 346, 347,
    348, 350, 353, 356, 357, 358, 359, 361, 362, 363, 364, 369, 370, 371, 372, 374, 377, 378, 379, 424, 425, 427, 428, 429,
    430, 432, 437, 438, 442,
]  # fmt: skip


def test_call_that_is_passed_over_at_once_means_nothing_in_the_other_abi() -> None:
    calls = HEADER.with_name("calls.h").read_text()
    quiet = {int(number) for number in re.findall(r"CALL\((\d+), QUIET\)", calls)}
    assert len(quiet) > 40
    assert quiet.isdisjoint(I386)
