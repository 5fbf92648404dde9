"""A few hundred damaged files of each kind; thousands by hand: python tests/fuzz.py --inputs 10000."""

import sys

import pytest

import fuzz


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a limit of the address space")
@pytest.mark.parametrize(("kind", "inputs"), [("photographs", 600), ("maps", 200), ("weights", 40)])
def test_damaged_files_are_read_or_refused(kind, inputs):
    _, failures = fuzz.run(inputs, seed=1, kinds=(kind,))
    assert [(name, outcome) for _, name, _, outcome in failures] == []


def test_inputs_differ_and_are_the_same_every_time():
    several = [fuzz.make("photographs", number, 3)[1] for number in range(60)]
    assert len(set(several)) > 50
    assert several == [fuzz.make("photographs", number, 3)[1] for number in range(60)]
