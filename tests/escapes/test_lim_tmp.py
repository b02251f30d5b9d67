"""LIM-06: 512 MB of /tmp for each execution, its own, with a clean end of space."""

from __future__ import annotations

import pytest
from escape_lab import MIB, AttackError, Lab, Micro

pytestmark = pytest.mark.root

FILLER = """
import os

def attack(argument):
    kind, _, rest = argument.partition("-")
    return globals()[kind](rest)

def fill(mib):
    done = 0
    try:
        with open("/tmp/filling", "wb", buffering=0) as file:
            for _ in range(int(mib)):
                done += file.write(b"z" * (1 << 20))
    except OSError as error:
        return {"errno": error.errno, "bytes": os.path.getsize("/tmp/filling")}
    return {"errno": 0, "bytes": done}

def many(count):
    for number in range(int(count)):
        open(f"/tmp/{number}", "w").close()
    return int(count)

def sparse(gib):
    with open("/tmp/sparse", "wb") as file:
        file.truncate(int(gib) << 30)
        file.seek(0)
        for _ in range(600):
            file.write(b"z" * (1 << 20))
    return True

def put(name):
    with open("/tmp/" + name, "w") as file:
        file.write(name)
    return os.listdir("/tmp")

def look(rest):
    return sorted(os.listdir("/tmp/" + rest))
"""


@pytest.fixture(scope="module")
def filler(lab: Lab) -> Micro:
    """Start the filling Micro."""
    return lab.start(FILLER)


def test_tmp_ends_at_512_mb_with_no_space_left(filler: Micro) -> None:
    found = filler.attack("fill-600")
    assert found["errno"] == 28
    assert abs(found["bytes"] - 512 * MIB) < 512 * MIB / 100


def test_a_larger_tmp_takes_the_same_file(lab: Lab) -> None:
    larger = lab.start(FILLER, tmp_bytes=700 * MIB)
    assert larger.attack("fill-600") == {"errno": 0, "bytes": 600 * MIB}
    larger.stop()


def test_a_million_empty_files_end_at_the_cap_of_files(filler: Micro) -> None:
    with pytest.raises(AttackError) as full:
        filler.attack("many-1000000")
    assert full.value.errno == 28


def test_a_sparse_file_ends_where_its_bytes_end(filler: Micro) -> None:
    with pytest.raises(AttackError) as full:
        filler.attack("sparse-10")
    assert full.value.errno == 28


def test_two_executions_do_not_see_each_others_tmp(filler: Micro) -> None:
    one, other = filler.lease(), filler.lease()
    assert one.attack("put-secret") == ["secret"]
    assert other.attack("look") == []
    assert one.attack("look") == ["secret"], "the same executor sees its own file: the harness works"
    one.kill()
    other.kill()
    assert filler.attack("look") == [], "a recycled slot still holds files"


def test_what_the_import_left_in_tmp_is_there_and_stays_as_it_was(lab: Lab) -> None:
    micro = lab.start(FILLER + "os.makedirs('/tmp/uploads')")
    one = micro.lease()
    assert one.attack("put-uploads/mine") == ["uploads"]
    assert one.attack("look-uploads") == ["mine"]
    other = micro.lease()
    assert other.attack("look-uploads") == []
    one.kill()
    other.kill()
    micro.stop()
