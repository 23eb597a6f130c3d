#!/usr/bin/python3
"""cfn pack on folders: which names become classes, and which never do. Usage: folder_cases.py FOLDER (environment: CFN)"""
import os, sys

from trees import Bench, png, put

work = sys.argv[1]
bench, count = Bench(work), 0


def tree(name, *files):
    """Pictures at these paths; other files where a text is given beside the path."""
    global count
    for f in files:
        count += 1
        path, text = f if isinstance(f, tuple) else (f, None)
        put(f"{work}/{name}/{path}", png(count) if text is None else text)
    return f"{work}/{name}"


def good(name, files, expected, *options, **more):
    bench.good(f"folders: {name}", tree(name, *files), {"reader": ["class_folders"]} | expected, *options, **more)


def bad(name, files, said, *options, code=65, **more):
    bench.bad(f"folders: {name} is refused", tree(name, *files), code, said, *options, **more)


def splits(words, classes, paths):
    return [f"{w}/{c}/{p}" for w in words for c in classes for p in paths]


AB = [c for _ in range(3) for c in "aabb"]
plain = ["0.png", "1.png"]
three = [s for s in ("train", "val", "test") for _ in range(4)]
good("train, val and test", splits(("train", "val", "test"), "ab", plain), {"class": AB, "splits": three, "classes": ["a", "b"]})
good("words of splits", splits(("Training", "Valid", "TESTING"), "ab", plain), {"class": AB, "splits": three}, ranks=4)
good("no validation", splits(("Train", "Test"), "ab", plain), {"splits": ["train"] * 4 + ["test"] * 4})
good("images partly in folders of patients", splits(("train", "val", "test"), "ab", ["0.png", "patient1/view.png"]), {"class": AB})
good("images in folders of patients", splits(("train", "val", "test"), "ab", ["p1/s1/v.png", "p2/s2/v.png"]), {"class": AB})
good("one folder too many", splits(("chest/train", "chest/val", "chest/test"), "ab", plain), {"class": AB, "splits": three},
     said=["the splits are those below chest/"])
good("folders that archives leave", splits(("x/train", "x/test"), "ab", plain) +
     [("__MACOSX/x/train/a/._0.png", "no picture"), ("x/train/.DS_Store", "")], {"splits": ["train"] * 4 + ["test"] * 4})
good("classes alone", [f"{c}/{i}.png" for c in ("covid", "normal") for i in range(12)], {"class": ["covid"] * 12 + ["normal"] * 12},
     said=["  covid  ", "  normal  ", "pack: read by class_folders"])
bad("a word of a split as a class", ["Validation/0.png", "nv/1.png"], ["there are others with images: nv"])
bad("words of splits without training", splits(("Validation", "Test"), "ab", plain), ["without one for training"])
bad("words of splits below classes", splits(("nv", "mel"), ("train", "test"), plain), ["holds folders of splits"])
bad("names with a split in them", ["Set_Training_Input/0.png", "Set_Test_Input/1.png"], ["its name means a split"])
bad("parts of an archive", ["HAM10000_images_part_1/0.png", "HAM10000_images_part_2/1.png"], ["looks like a part of an archive"])
bad("numbered folders of images", ["images_001/images/0.png", "images_002/images/1.png"], ["looks like a part of an archive"])
bad("patients", ["patient00001/0.png", "patient00002/1.png"], ["or a patient"])
bad("one class", ["nv/0.png", "nv/p1/1.png"], ["one class only, folder nv"])
bad("images beside the splits", ["train/0.png", "train/1.png", "test/2.png"], ["lies in no class folder"])
bad("images in no folder", ["0.png", "1.png"], ["lies in no class folder"])
bad("a folder beside the splits", splits(("train", "test", "extra"), "ab", plain), ["there are others with images: extra"], ranks=4)
good("a folder beside the splits, left out", splits(("train", "test", "extra"), "ab", plain), {"splits": ["train"] * 4 + ["test"] * 4},
     "pack.on_bad=skip", said=["are left out: extra"])
bad("a class that train lacks", splits(("train",), "ab", plain) + ["test/c/0.png"], ["unknown class 'c'"])
bad("a class without images", splits(("train",), "ab", plain) + [("train/c/notes.md", "x")], ["class folder 'c' holds no images"],
    "pack.on_bad=skip")
bad("classes that differ in case", ["nv/0.png", "NV/1.png", "mel/2.png"], ["'NV' and 'nv' differ only in case"])
for name in "metadata.csv", "labels.csv.gz.part.gz", "data.json", "a.npz", "images.zip", "train.txt", "train/metadata.jsonl":
    bad(f"beside {name.replace('/', ' in ')}", splits(("train", "test"), "ab", plain) + [(name, "x")], [f"there is {name}, which no reader knows"])
    good(f"beside {name.replace('/', ' in ')}, as asked", splits(("train", "test"), "ab", plain * 6) + [(name, "x")],
         {"splits": (["train"] * 4 + ["test"] * 4)}, "pack.reader=class_folders", "pack.on_bad=skip")
many = [f"{c}/{i}.png" for c in "ab" for i in range(10)]
good("a few other files", many + [("a/notes.txt", "x"), ("readme.md", "x")], {}, said=["left out: 1 .md, 1 .txt"])
bad("many other files", many + [(f"a/{i}.dcm", "x") for i in range(3)], ["20 images, but also", "3 .dcm", "pack.on_bad: skip"])
good("many other files, left out", many + [(f"a/{i}.dcm", "x") for i in range(3)], {}, "pack.on_bad=skip", said=["left out: 3 .dcm"])
bad("only other files", [("train/a/0.nii.gz", "x"), ("train/b/1.nii.gz", "x"), ("readme", "x")],
    ["no images; seen: 2 .nii.gz, 1 without ending", "export slices as PNG"], code=66)
bad("only DICOM", [("a/0.dcm", "x"), ("b/1.dcm", "x")], ["no images; seen: 2 .dcm", "convert it to PNG"], code=66)
bad("archives alone", [("0.tar", "x")], ["no images; seen: 1 .tar", "unpack the archives"], code=66)
bad("nothing known", [("0.xyz", "x")], ["no images; seen: 1 .xyz", "docs/data.md says which folders are read"], code=66)

# Names that are no text: a bad file, named so that it can be typed.
odd = tree("odd", *[f"{c}/{i}.png" for c in "ab" for i in range(40)], "a/tab\there.png")
bench.bad("folders: a name with a TAB", odd, 65, ["a/tab\\there.png", "a control character", "pack.on_bad: skip"], ranks=4)
bench.good("folders: a name with a TAB, left out", odd, {"classes": ["a", "b"], "class": ["a"] * 40 + ["b"] * 40}, "pack.on_bad=skip",
           "pack.max_bad_fraction=0.1", ranks=4)
os.rename(f"{odd}/a/tab\there.png", f"{odd}/a/line\nend.png".encode())
bench.bad("folders: a name with a line break", odd, 65, ["a/line\\nend.png"])
os.rename(f"{odd}/a/line\nend.png".encode(), f"{odd}/a/".encode() + b"\xe9t\xe9.png")
bench.bad("folders: a name that is not UTF-8", odd, 65, ["a/\\xe9t\\xe9.png", "not UTF-8"])

# root/images may be a link to shared data; no other link leads out.
shared = tree("shared", "x/0.png", "x/1.png", "y/2.png")
linked = tree("linked", ("labels.csv", "path,label\nimages/x/0.png,a\nimages/y/2.png,b\n"))
os.symlink(shared, f"{linked}/images")
bench.good("links: root/images is one", linked, {"class": ["a", "b"]}, ranks=2)
os.symlink(f"{work}/odd/b/1.png", f"{shared}/x/out.png")
put(f"{linked}/labels.csv", "path,label\nimages/x/0.png,a\nimages/x/out.png,b\n")
bench.bad("links: out of root/images", linked, 65, ["labels.csv:3: images/x/out.png: a link that leads out"])
outer = tree("outer", "a/0.png", "b/1.png")
os.symlink(shared, f"{outer}/c")
bench.bad("links: another folder leads out", outer, 65, ["outer/c: a link that leads out of the data folder"], ranks=4)
circle = tree("circle", "a/0.png", "b/1.png")
os.symlink("../a", f"{circle}/a/again")
bench.good("links: a circle ends", circle, {"class": ["a", "b"]})
