#!/usr/bin/python3
"""Training steps of torchvision's densenet121, for tests/parity/test_densenet121.c.

Usage: dump_densenet.py [DIR]     writes DIR/densenet121.txt (default tests/parity/fixtures)
"""
from parity_network import dump

CASES = [  # backbone, size, batch, classes, multi-label, steps, lift of biases
    ("densenet121", 64, 8, 5, 0, 10, 3),
    ("densenet121", 75, 4, 3, 1, 3, 3),
    ("densenet121", 96, 4, 5, 0, 2, 0),
]
WHOLE = (
    "classifier.bias",
    "features.norm0.weight",
    "features.norm0.bias",
    "features.denseblock1.denselayer2.norm1.weight",
    "features.transition2.norm.bias",
    "features.denseblock4.denselayer16.norm2.weight",
    "features.norm5.bias",
)

dump("densenet121.txt", CASES, WHOLE)
