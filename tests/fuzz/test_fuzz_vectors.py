"""Files of test vectors, `lnsim conformance --check`, made wrong, their digest fitting or not."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import mutate
import pytest
from fuzzing import attempt, fuzz
from hypothesis import given
from hypothesis import strategies as st
from lnsim.sim.conformance.batch import expected
from lnsim.sim.conformance.levels import LEVELS
from lnsim.sim.conformance.suite import batches
from lnsim.sim.conformance.vectors import Vectors, digest, load, questions, read_answers


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A file of a few groups from all over the suite, and what it holds."""
    file = Vectors("quick", 0)
    for batch in islice(batches(LEVELS["quick"], 0, ()), 0, 60, 12):
        file.add(batch, expected(batch))
    path = tmp_path_factory.mktemp("vectors") / "v.json"
    path.write_text(file.text(), encoding="utf-8")
    return path, json.loads(file.text())


def read(path: Path) -> int:
    """Everything that is done with a file before the oracle is asked; the number of groups."""
    groups = 0
    for name, batch, _, answers in questions(load(path)):
        read_answers(name, batch, answers)
        groups += 1
    return groups


@fuzz(ordinary=15)
@given(data=st.data())
def test_vectors(data: st.DataObject, vectors: tuple[Path, dict[str, Any]]) -> None:
    """A changed file is refused in one line, or its groups are whole."""
    path, document = vectors
    place = path.with_name("w.json")
    if data.draw(st.booleans()):
        tree = json.loads(mutate.as_json(data.draw(mutate.tree_of(document))))
        groups = tree.get("groups")
        whole = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
        if whole and data.draw(st.integers(0, 3)):
            tree["digest"] = digest(groups)
        place.write_bytes(mutate.as_json(tree))
    else:
        place.write_bytes(data.draw(mutate.bytes_of(path.read_bytes())))
    attempt("read vectors", lambda: read(place), refusals=(ValueError,))


def test_a_whole_file_is_taken(vectors: tuple[Path, dict[str, Any]]) -> None:
    """What was written is read back."""
    path, document = vectors
    assert read(path) == len(document["groups"])
