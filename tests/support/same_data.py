#!/usr/bin/python3
"""Are the datasets of two HDF5 files the same bits? (Not /run, which says when and where.)
Usage: same_data.py A B [GROUP]: those of GROUP are left out"""
import sys

import h5py

left_out = ("run", *(g + "/" for g in sys.argv[3:4]))


def datasets(path):
    found = {}
    with h5py.File(path) as f:
        f.visititems(lambda name, o: found.__setitem__(name, (o.dtype, o.shape, o[()].tobytes()))
                     if isinstance(o, h5py.Dataset) and not name.startswith(left_out) else None)
    return found


a, b = map(datasets, sys.argv[1:3])
different = sorted(n for n in a.keys() | b.keys() if a.get(n) != b.get(n))
if different or not a:
    sys.exit(f"{sys.argv[1]} and {sys.argv[2]} differ: {' '.join(different)}")
