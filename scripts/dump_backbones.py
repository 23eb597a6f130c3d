#!/usr/bin/python3
"""Training steps of torchvision's networks, for tests/parity/test_backbones.c.

Usage: dump_backbones.py [DIR]     writes DIR/resnet.txt, densenet121.txt, convnext.txt, vit.txt
                                   (default tests/parity/fixtures)

Stochastic depth is off: its draws are the generator's. Layer scales come from the formula and matter.
"""
from parity_network import dump

# backbone, size, batch, classes, multi-label, steps, lift of biases
RESNET = [
    ("resnet18", 64, 8, 7, 0, 10, 3),
    ("resnet18", 65, 8, 3, 1, 3, 3),
    ("resnet18", 96, 4, 2, 0, 3, 3),
    ("resnet18", 224, 4, 7, 0, 2, 3),
    ("resnet50", 128, 4, 5, 0, 2, 3),
    ("resnet50", 64, 12, 5, 0, 10, 3),
]
DENSENET = [
    ("densenet121", 64, 8, 5, 0, 10, 3),
    ("densenet121", 75, 4, 3, 1, 3, 3),
    ("densenet121", 96, 4, 5, 0, 2, 3),
]
CONVNEXT = [
    ("convnext_tiny", 64, 4, 7, 0, 10, 0),
    ("convnext_tiny", 75, 4, 3, 1, 3, 0),
    ("convnext_base", 64, 2, 4, 0, 1, 0),
]
VIT = [
    ("vit_b_16", 48, 4, 7, 0, 10, 0),
    ("vit_b_16", 32, 4, 3, 1, 3, 0),
    ("vit_b_16", 224, 2, 5, 0, 1, 0),
]

dump(
    "resnet.txt",
    RESNET,
    ("fc.bias", "bn1.weight", "bn1.bias", "layer2.0.downsample.1.weight", "layer4.1.bn2.bias", "layer4.1.bn2.weight"),
)
dump(
    "densenet121.txt",
    DENSENET,
    (
        "classifier.bias",
        "features.norm0.weight",
        "features.norm0.bias",
        "features.denseblock1.denselayer2.norm1.weight",
        "features.transition2.norm.bias",
        "features.denseblock4.denselayer16.norm2.weight",
        "features.norm5.bias",
    ),
)
dump(
    "convnext.txt",
    CONVNEXT,
    (
        "classifier.2.bias",
        "classifier.0.weight",
        "features.0.0.bias",
        "features.0.1.weight",
        "features.1.0.layer_scale",
        "features.3.1.block.0.bias",
        "features.4.0.bias",
        "features.5.8.block.5.bias",
    ),
)
dump(
    "vit.txt",
    VIT,
    (
        "class_token",
        "heads.head.bias",
        "encoder.ln.weight",
        "encoder.layers.encoder_layer_0.ln_1.bias",
        "encoder.layers.encoder_layer_11.self_attention.out_proj.bias",
    ),
)
