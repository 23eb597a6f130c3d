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


def tiff(a, order="<", tile=0, separate=False, photometric=None, pages=1, orientation=1, extra=0):
    """A TIFF made by hand, for the kinds Pillow does not write: tiles, separate planes, 16 bits, white as 0, pages."""
    h, w, c = a.shape
    a = a.astype(a.dtype.newbyteorder(order))
    planes = [a[:, :, k:k + 1] for k in range(c)] if separate else [a]
    if tile:
        padded = [np.pad(p, ((0, -h % tile), (0, -w % tile), (0, 0))) for p in planes]
        parts = [p[y:y + tile, x:x + tile].tobytes() for p in padded for y in range(0, h, tile) for x in range(0, w, tile)]
    else:
        parts = [p[y:y + 8].tobytes() for p in planes for y in range(0, h, 8)]
    body, at = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0), []
    for part in parts:
        at.append(len(body))
        body += part
    body += b"\0" * (len(body) % 2)
    counts = [len(p) for p in parts]
    place = 4
    for _ in range(pages):
        body = body[:place] + struct.pack(order + "I", len(body)) + body[place + 4:]
        grey = c - extra == 1
        tags = [(256, 4, [w]), (257, 4, [h]), (258, 3, [8 * a.dtype.itemsize] * c), (259, 3, [1]),
                (262, 3, [photometric if photometric is not None else 1 if grey else 2]), (274, 3, [orientation]), (277, 3, [c]),
                (284, 3, [2 if separate else 1])]
        if tile:
            tags += [(322, 4, [tile]), (323, 4, [tile]), (324, 4, at), (325, 4, counts)]
        else:
            tags += [(273, 4, at), (278, 4, [8]), (279, 4, counts)]
        if extra:
            tags += [(338, 3, [2] * extra)]
        rows, more, end = b"", b"", len(body) + 2 + 12 * len(tags) + 4
        for tag, kind, values in sorted(tags):
            data = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
            if len(data) > 4:
                more, data = more + data + b"\0" * (len(data) % 2), struct.pack(order + "I", end + len(more))
            rows += struct.pack(order + "HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
        place = len(body) + 2 + len(rows)
        body += struct.pack(order + "H", len(tags)) + rows + struct.pack(order + "I", 0) + more
    return body


def tiff_files(rgb, grey, rgba):
    small = rgb.resize((16, 16))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"tiff_{compression.split('_')[-1]}", saved(rgb, format="TIFF", compression=compression), None
    yield "tiff_grey", saved(grey, format="TIFF"), None
    yield "tiff_1bit", saved(grey.point(lambda v: 255 * (v > 99)).convert("1"), format="TIFF"), None
    yield "tiff_g4", saved(grey.point(lambda v: 255 * (v > 99)).convert("1"), format="TIFF", compression="group4"), None
    yield "tiff_palette", saved(rgb.quantize(13), format="TIFF"), None
    yield "tiff_rgba", saved(rgba, format="TIFF", compression="tiff_lzw"), None
    yield "tiff_jpeg", saved(small, format="TIFF", compression="jpeg"), None
    a, g = formula(21, 30, 3), formula(21, 30, 1)
    yield "tiff_turned_3", tiff(a, orientation=3), a[::-1, ::-1]  # Pillow 9.4 turns a TIFF twice here
    yield "tiff_turned_6", tiff(a, orientation=6), np.rot90(a, -1)
    yield "tiff_tiles", tiff(a, tile=16), a
    yield "tiff_planes", tiff(a, separate=True), a
    yield "tiff_planes_tiles", tiff(a, tile=16, separate=True, order=">"), a
    yield "tiff_white_is_0", tiff(g, photometric=0), np.repeat(255 - g, 3, 2)
    yield "tiff_grey_in_rgb", tiff(np.repeat(g, 3, 2)), np.repeat(g, 3, 2)
    wide = a.astype(np.uint16) * 257 + 77
    for order in "<>":
        yield f"tiff_rgb_16bit{order}", tiff(wide, order=order, tile=16), (wide >> 8).astype(np.uint8)
    yield "tiff_grey_16bit", tiff(wide[:, :, :1]), np.repeat((wide[:, :, :1] >> 8).astype(np.uint8), 3, 2)
    yield "tiff_grey_16bit_alpha", tiff(wide[:, :, :2], extra=1), np.repeat((wide[:, :, :1] >> 8).astype(np.uint8), 3, 2)
    yield "tiff_16bit_white_is_0", tiff(wide[:, :, :1], photometric=0), np.repeat(255 - (wide[:, :, :1] >> 8).astype(np.uint8), 3, 2)


def bmp(a, header=40):
    """24 bits, rows from the top, or with an OS/2 header from the bottom."""
    h, w, _ = a.shape
    rows = [r.tobytes().ljust((3 * w + 3) // 4 * 4, b"\0") for r in a[:, :, ::-1]]
    if header == 12:
        head, rows = struct.pack("<IHHHH", 12, w, h, 1, 24), rows[::-1]
    else:
        head = struct.pack("<IiiHHIIiiII", 40, w, -h, 1, 24, 0, 0, 0, 0, 0, 0)
    body = b"".join(rows)
    return struct.pack("<2sIHHI", b"BM", 14 + len(head) + len(body), 0, 0, 14 + len(head)) + head + body


def other_files(rgb, grey, rgba):
    one = grey.point(lambda v: 255 * (v > 99)).convert("1")
    yield "webp", saved(rgb, format="WEBP", quality=80), None
    yield "webp_lossless", saved(rgb, format="WEBP", lossless=True), None
    yield "webp_rgba", saved(rgba, format="WEBP", lossless=True, exact=True), None
    yield "webp_rgba_lossy", saved(rgba, format="WEBP", quality=70), None
    yield "webp_exif_6", saved(rgb, format="WEBP", quality=60, exif=exif(6)), None
    yield "webp_grey", saved(grey, format="WEBP", lossless=True), None
    yield "bmp", saved(rgb, format="BMP"), None
    yield "bmp_grey", saved(grey, format="BMP"), None
    yield "bmp_palette", saved(rgb.quantize(13), format="BMP"), None
    yield "bmp_1bit", saved(one, format="BMP"), None
    yield "bmp_rgba", saved(rgba, format="BMP"), None
    a, g = formula(21, 30, 3), formula(21, 30, 1)
    yield "bmp_top_down", bmp(a), None
    yield "bmp_os2", bmp(a, 12), None
    yield "pnm_P6", saved(rgb, format="PPM"), None
    yield "pnm_P5", saved(grey, format="PPM"), None
    yield "pnm_P4", saved(one, format="PPM"), None
    bits = (g[:, :, 0] > 99).astype(np.uint8)
    text = lambda v: "\n".join(" ".join(str(n) for n in row) for row in v.reshape(v.shape[0], -1))
    yield "pnm_P1", ("P1\n# a comment\n30 21\n" + text(1 - bits).replace(" ", "")).encode(), np.repeat(bits[:, :, None] * 255, 3, 2)
    yield "pnm_P2", ("P2 30 21 # white\n255\n" + text(g)).encode(), np.repeat(g, 3, 2)
    yield "pnm_P3", ("P3\n30 21\n255\n" + text(a) + "\n").encode(), a
    fifty = (g % 51).astype(np.uint8)
    yield "pnm_P5_50", b"P5\n30 21\n50\n" + fifty.tobytes(), None
    wide = a.astype(np.uint16) * 257 + 77
    yield "pnm_P6_16bit", b"P6\n30 21\n65535\n" + wide.astype(">u2").tobytes(), (wide >> 8).astype(np.uint8)
    twelve = a.astype(np.uint16) * 16 + 5
    yield "pnm_P6_12bit", b"P6\n30 21\n4095\n" + twelve.astype(">u2").tobytes(), a


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
    yield from tiff_files(rgb, grey, rgba)
    yield from other_files(rgb, grey, rgba)


def main():
    torch.set_num_threads(1)
    out = []
    pixels(out)
    with open(os.path.join(HERE, "image_pixels.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")
    out = []
    for name, data, expected in encoded_files():
        if expected is None:
            expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
        expected = np.ascontiguousarray(expected)
        grey = int((expected == expected[:, :, :1]).all())
        out.append(f"{name} {expected.shape[0]} {expected.shape[1]} {1 if grey else 3} {fnv(expected.tobytes())} {data.hex()}")
    with open(os.path.join(HERE, "image_files.txt"), "w", encoding="ascii") as f:
        f.write("\n".join(out) + "\n")


main()
