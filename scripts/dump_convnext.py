#!/usr/bin/python3
"""Training steps of torchvision's convnext_tiny, for tests/parity/test_convnext.c.

Usage: dump_convnext.py [DIR]     writes DIR/convnext.txt (default tests/parity/fixtures)

Stochastic depth is off: its draws are the generator's. Layer scales come from the formula and matter.
"""
from parity_network import dump

CASES = [  # backbone, size, batch, classes, multi-label, steps, lift of biases
    ("convnext_tiny", 64, 4, 7, 0, 10, 0),
    ("convnext_tiny", 75, 4, 3, 1, 3, 0),
]
WHOLE = (
    "classifier.2.bias",
    "classifier.0.weight",
    "features.0.0.bias",
    "features.0.1.weight",
    "features.1.0.layer_scale",
    "features.3.1.block.0.bias",
    "features.4.0.bias",
    "features.5.8.block.5.bias",
)

dump("convnext.txt", CASES, WHOLE)
