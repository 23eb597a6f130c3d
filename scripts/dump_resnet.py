#!/usr/bin/python3
"""Training steps of torchvision's resnets, for tests/parity/test_resnet18.c.

Usage: dump_resnet.py [DIR]     writes DIR/resnet18.txt (default tests/parity/fixtures)
"""
from parity_network import dump

CASES = [  # backbone, size, batch, classes, multi-label, steps, lift of biases
    ("resnet18", 64, 8, 7, 0, 10, 0),
    ("resnet18", 65, 8, 3, 1, 3, 0),
    ("resnet18", 96, 4, 2, 0, 3, 0),
    ("resnet18", 224, 4, 7, 0, 2, 0),
    ("resnet50", 128, 4, 5, 0, 2, 0),
]
WHOLE = ("fc.bias", "bn1.weight", "bn1.bias", "layer2.0.downsample.1.weight", "layer4.1.bn2.bias", "layer4.1.bn2.weight")

dump("resnet18.txt", CASES, WHOLE)
