#!/usr/bin/env python3
"""Fixtures of tests/parity/test_image.c from Pillow and torchvision: images made
from a formula, resized, turned, blurred and cropped; and small encoded files
with the pixels a reference decoder finds in them."""
import base64
import io
import os
import struct
import warnings
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

warnings.filterwarnings("ignore")
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "parity", "fixtures")
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


# A YCCK file, which Pillow reads and does not write: 16 x 16, quality 70, from libjpeg with jpeg_set_colorspace(JCS_YCCK).
YCCK = (
    "/9j/7gAOQWRvYmUAZAAAAAAC/9sAQwAKBwcIBwYKCAgICwoKCw4YEA4NDQ4dFRYRGCMfJSQiHyIhJis3LyYpNCkhIjBBMTQ5Oz4+PiUuRElDPEg3"
    "PT47/9sAQwEKCwsODQ4cEBAcOygiKDs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7/8AAFAgAEAAQBAEi"
    "AAIRAQMRAQQiAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQy"
    "gZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeY"
    "mZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/EAB8BAAMBAQEBAQEBAQEAAAAAAAABAgME"
    "BQYHCAkKC//EALURAAIBAgQEAwQHBQQEAAECdwABAgMRBAUhMQYSQVEHYXETIjKBCBRCkaGxwQkjM1LwFWJy0QoWJDThJfEXGBkaJicoKSo1Njc4"
    "OTpDREVGR0hJSlNUVVZXWFlaY2RlZmdoaWpzdHV2d3h5eoKDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW"
    "19jZ2uLj5OXm5+jp6vLz9PX29/j5+v/aAA4EAQACEQMRBAAAPwDv73WMZ+asC91rGfmrDv8AWMZ+auav9axn5q9epT9iZ5vlF76HpV7e9ea5+9ve"
    "vNF7e9ea5+9vevNf/9k="
)


def formula(h, w, c):
    y, x, k = np.meshgrid(np.arange(h), np.arange(w), np.arange(c), indexing="ij")
    return ((x * x * 3 + y * y * 5 + x * y * 7 + 11 * k * (x + 2 * y) + 13 * k) // 4 % 256).astype(np.uint8)


def image(h, w, c):
    a = formula(h, w, c)
    return Image.fromarray(a[:, :, 0] if c == 1 else a)


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in bytes(data):
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def bytes_of(im):
    return np.asarray(im, np.uint8).tobytes()


def pixels(out):
    for h, w, c, to_h, to_w in [(64, 64, 1, 32, 32), (64, 64, 3, 224, 224), (61, 47, 3, 29, 31), (45, 60, 3, 22, 29),
                                (30, 31, 1, 97, 64), (5, 7, 3, 1, 1), (1, 1, 3, 9, 4), (300, 20, 1, 7, 20),
                                (20, 300, 3, 20, 11), (33, 40, 3, 33, 40), (450, 600, 3, 224, 298)]:
        im = image(h, w, c).resize((to_w, to_h), Image.BICUBIC)
        out.append(f"resize {h} {w} {c} {to_h} {to_w} {fnv(bytes_of(im))}")
    for h, w, c in [(64, 64, 1), (47, 61, 3), (45, 60, 1), (1, 9, 3)]:
        for angle in [-29.99, -17.123456789, -1e-3, 0.0, 0.4999, 3.25, 12.5, 29.9999]:
            turned = F.rotate(image(h, w, c), angle, InterpolationMode.NEAREST, fill=0)
            out.append(f"rotate {h} {w} {c} {angle!r} {fnv(bytes_of(turned))}")
    for h, w, size in [(64, 64, 64), (65, 70, 64), (67, 64, 64), (40, 90, 64), (33, 33, 64), (66, 69, 63), (91, 64, 64)]:
        out.append(f"crop {h} {w} 3 {size} {fnv(bytes_of(F.center_crop(image(h, w, 3), [size, size])))}")
    for sigma in [0.1, 0.35, 0.7, 1.3, 1.999]:
        for h, w, c in [(17, 13, 3), (3, 5, 1)]:
            blurred = F.gaussian_blur(image(h, w, c), [5, 5], [sigma, sigma])
            out.append(f"blur {h} {w} {c} {sigma!r} {bytes_of(blurred).hex()}")
    normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    for h, w, c, size in [(64, 64, 1, 64), (45, 60, 3, 32), (60, 45, 3, 37), (20, 20, 1, 48)]:
        view = transforms.Compose([transforms.Resize(size, InterpolationMode.BICUBIC), transforms.CenterCrop(size)])
        done = normalise(view(image(h, w, c)).convert("RGB")).numpy().astype("<f4")
        out.append(f"evaluate {h} {w} {c} {size} {fnv(done.tobytes())}")
        for angle, flip, sigma in [(7.5, 1, 0.8), (-22.25, 0, 1.7)]:
            im = F.rotate(image(h, w, c), angle, InterpolationMode.NEAREST, fill=0)
            im = F.hflip(im) if flip else im
            out.append(f"train {h} {w} {c} {size} {angle!r} {flip} {sigma!r} "
                       f"{bytes_of(view(F.gaussian_blur(im, [5, 5], [sigma, sigma]))).hex()}")
    views(out)


def views(out):
    """Transforms of models trained elsewhere: a larger short side, other filters and statistics."""
    names = {"clip": (MEAN, STD), "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "grey": ((0.5,) * 3, (0.5,) * 3)}
    for h, w, c, resize, size, filter, statistics in [(300, 400, 3, 256, 224, "bilinear", "imagenet"),
                                                      (64, 50, 1, 48, 32, "bilinear", "grey"), (30, 41, 3, 64, 56, "bilinear", "clip"),
                                                      (90, 70, 3, 40, 32, "nearest", "imagenet"), (31, 33, 1, 50, 50, "nearest", "grey"),
                                                      (120, 90, 3, 72, 64, "bicubic", "imagenet")]:
        mean, std = names[statistics]
        view = transforms.Compose([transforms.Resize(resize, InterpolationMode(filter)), transforms.CenterCrop(size),
                                   transforms.ToTensor(), transforms.Normalize(mean, std)])
        done = view(image(h, w, c).convert("RGB")).numpy().astype("<f4")
        out.append(f"view {h} {w} {c} {resize} {size} {filter} {statistics} {fnv(done.tobytes())}")


def png(width, height, depth, colour, rows, extra=b"", interlace=0):
    """A PNG made by hand, for the kinds Pillow does not write: rows of packed samples, filter 0."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def adam7(a):
    """Rows of the seven passes of an interlaced grey image."""
    rows = []
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        part = a[y0::dy, x0::dx]
        if part.size:
            rows += [row.tobytes() for row in part]
    return rows


def saved(im, **options):
    out = io.BytesIO()
    im.save(out, **options)
    return out.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def encoded_files():
    """name, bytes, expected RGB pixels or None for what Pillow finds"""
    rgb, grey = image(21, 30, 3), image(21, 30, 1)
    yield "jpeg", saved(rgb, format="JPEG", quality=90), None
    yield "jpeg_444", saved(rgb, format="JPEG", quality=75, subsampling=0), None
    yield "jpeg_422", saved(rgb, format="JPEG", quality=60, subsampling=1), None
    yield "jpeg_progressive", saved(rgb, format="JPEG", quality=85, progressive=True), None
    yield "jpeg_grey", saved(grey, format="JPEG", quality=80), None
    yield "jpeg_cmyk", saved(rgb.convert("CMYK"), format="JPEG", quality=80), None
    yield "jpeg_ycck", base64.b64decode(YCCK), None
    for orientation in range(1, 9):
        yield f"jpeg_exif_{orientation}", saved(rgb, format="JPEG", quality=50, exif=exif(orientation)), None
    yield "png", saved(rgb, format="PNG"), None
    yield "png_grey", saved(grey, format="PNG"), None
    yield "png_1bit", saved(grey.point(lambda v: 255 * (v > 99)).convert("1"), format="PNG"), None
    yield "png_palette", saved(rgb.quantize(13), format="PNG"), None
    yield "png_palette_transparent", saved(rgb.quantize(200), format="PNG", transparency=3), None
    rgba = rgb.copy()
    rgba.putalpha(grey)
    yield "png_rgba", saved(rgba, format="PNG"), None
    la = Image.merge("LA", (grey, grey.point(lambda v: 255 - v)))
    yield "png_grey_alpha", saved(la, format="PNG"), None
    yield "png_exif_6", saved(rgb, format="PNG", exif=exif(6)), None
    a = formula(21, 30, 1)[:, :, 0]
    for depth in (2, 4):
        small = a >> (8 - depth)
        per = 8 // depth
        pad = np.pad(small, ((0, 0), (0, -30 % per)))
        packed = sum(pad[:, i::per].astype(np.uint8) << (8 - depth * (i + 1)) for i in range(per)).astype(np.uint8)
        yield f"png_grey_{depth}bit", png(30, 21, depth, 0, [r.tobytes() for r in packed]), None
    yield "png_interlaced", png(30, 21, 8, 0, adam7(a), interlace=1), None
    wide = formula(21, 30, 3).astype(np.uint16) * 257 + 77
    yield "png_rgb_16bit", png(30, 21, 16, 2, [r.astype(">u2").tobytes() for r in wide]), None
    # Pillow clips 16-bit grey at 255, which leaves a white image; the high byte is what libpng's strip_16, and Pillow
    # itself for 16-bit RGB, take.
    high = np.repeat((wide[:, :, :1] >> 8).astype(np.uint8), 3, 2)
    yield "png_grey_16bit", png(30, 21, 16, 0, [r.astype(">u2").tobytes() for r in wide[:, :, 0]]), high


def main():
    torch.set_num_threads(1)
    out = []
    pixels(out)
    with open(os.path.join(HERE, "image_pixels.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")
    out = []
    for name, data, expected in encoded_files():
        found = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        grey = int(found.mode in ("1", "L", "LA", "I", "I;16"))
        expected = np.asarray(found.convert("RGB")) if expected is None else expected
        out.append(f"{name} {expected.shape[0]} {expected.shape[1]} {1 if grey else 3} {fnv(expected.tobytes())} {data.hex()}")
    with open(os.path.join(HERE, "image_files.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")


main()
