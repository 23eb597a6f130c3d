#!/usr/bin/python3
"""Small data folders in the layouts of chest X-ray collections, MedMNIST and IDX: chest_trees.py FOLDER [NAME...].

Beside each folder NAME a file NAME.json says what its corpus must hold, for tests/support/check_collection.py. Ids, labels
and reports are made up."""
import csv, gzip, io, json, os, pickle, struct, sys, zipfile, zlib
import numpy as np

WORK = sys.argv[1]
ONLY = sys.argv[2:]
LABELS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
          "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices"]
STATE = {"1.0": 1, "0.0": 0, "-1.0": -1, "": -2}
SPLIT = {"train": 0, "validate": 1, "val": 1, "test": 2}


def png(salt, width=20, height=16, kind=0):
    """Grey (kind 0), RGB (2) or RGBA (6)."""
    n = {0: 1, 2: 3, 6: 4}[kind]
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    rows = b"".join(b"\0" + bytes((x // n * 7 + y * 13 + salt * 31 + x // n * y * salt) % 256 for x in range(width * n))
                    for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def put(name, data):
    path = os.path.join(WORK, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def table(rows, packed=False):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return gzip.compress(out.getvalue().encode()) if packed else out.getvalue().encode()


def expect(name, classes, rows, **more):
    put(f"{name}.json", json.dumps({"classes": classes, "rows": rows, **more}))


# ---- MIMIC-CXR ----

def mimic_study(subject, study):
    """States of the 14 observations, the same every time."""
    words = ["1.0", "0.0", "-1.0", "", "", ""]
    states = {c: words[(subject * 7 + study * 3 + k * k) % 6] for k, c in enumerate(LABELS)}
    states["No Finding"] = "1.0" if subject % 4 == 0 else ""
    if subject % 9 == 5:
        states = {c: "" for c in states}  # a study that is blank in all
    return states


def mimic_report(study):
    return (f"                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n FINDINGS: \n \n Study {study} "
            f"shows no\n edema.\n \n IMPRESSION: \n \n No acute process in {study}.\n")


def mimic_images():
    """dicom, study, subject, split, view of 12 patients."""
    for s in range(12):
        subject, split = 10000032 + 977 * s, "train" if s < 8 else "validate" if s < 10 else "test"
        for t in range(2):
            study = 50414267 + 1000 * s + t
            for v, view in enumerate(["PA", "LATERAL"] if t == 0 else ["AP" if s % 3 else ""]):
                dicom = "-".join(f"{(s * 977 + t * 31 + v + 17 * k) * 2654435761 % 2**32:08x}" for k in range(5))
                yield dicom, study, subject, split, view


def mimic_path(dicom, study, subject):
    return f"p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg"


def mimic_tables(name, packed, version="2.0.0", leave=()):
    split = [["dicom_id", "study_id", "subject_id", "split"]]
    meta = [["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"]]
    order = sorted(LABELS + ["No Finding"])
    labels = [["subject_id", "study_id"] + order]
    other = [["subject_id", "study_id"] + order]
    seen = set()
    for dicom, study, subject, part, view in mimic_images():
        split.append([dicom, study, subject, part])
        meta.append([dicom, subject, study, "CHEST (PA AND LAT)", view, 3056, 2544])
        if study not in seen and study != NO_LABELS:
            states = mimic_study(subject, study)
            labels.append([subject, study] + [states[c] for c in order])
            other.append([subject, study] + ["1.0" if c == "Edema" else "" for c in order])
        seen.add(study)
    end = ".csv.gz" if packed else ".csv"
    for what, rows in (("split", split), ("metadata", meta), ("chexpert", labels), ("negbio", other)):
        if what not in leave:
            put(f"{name}/mimic-cxr-{version}-{what}{end}", table(rows, packed))


NO_LABELS = 50414267 + 1000 * 3 + 1  # a study without a row of labels


def mimic_rows(states=None, keep=lambda *image: True):
    rows = {}
    for dicom, study, subject, part, view in mimic_images():
        if keep(dicom, study, subject, part, view):
            found = states(subject, study) if states else mimic_study(subject, study)
            rows[dicom] = {"labels": [STATE[found[c]] if study != NO_LABELS else -2 for c in LABELS],
                           "split": SPLIT[part], "group": subject, "report": mimic_report(study),
                           "findings": f"Study {study} shows no edema.", "impression": f"No acute process in {study}.",
                           "attributes": {"study_id": study}}
    return rows


def mimic_reports_zip(name):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for _, study, subject, _, _ in mimic_images():
            member = f"files/p{str(subject)[:2]}/p{subject}/s{study}.txt"
            if member not in z.namelist():
                z.writestr(member, mimic_report(study))
    put(f"{name}/mimic-cxr-reports.zip", out.getvalue())


def mimic_pictures(name, below, keep=lambda *image: True):
    for i, image in enumerate(mimic_images()):
        if keep(*image):
            put(f"{name}/{below}{mimic_path(*image[:3])}", png(i))


def mimic_official():
    for name, packed, below in (("mimic_official", True, "files/"), ("mimic_plain", False, "images/"),
                                ("mimic_root", True, "")):
        mimic_tables(name, packed)
        mimic_pictures(name, below)
        mimic_reports_zip(name)
        put(f"{name}/IMAGE_FILENAMES", "\n".join("files/" + mimic_path(*i[:3]) for i in mimic_images()))
        expect(name, LABELS, mimic_rows())
    # Reports unpacked, and images of the first patients alone.
    first = lambda d, st, subject, p, v: subject < 10000032 + 977 * 3 or p != "train"
    mimic_tables("mimic_some", True)
    mimic_pictures("mimic_some", "files/", first)
    for _, study, subject, _, _ in mimic_images():
        put(f"mimic_some/files/p{str(subject)[:2]}/p{subject}/s{study}.txt", mimic_report(study))
    expect("mimic_some", LABELS, mimic_rows(keep=first))
    expect("mimic_frontal", LABELS, mimic_rows(keep=lambda d, st, su, p, v: v in ("PA", "AP")))
    expect("mimic_lateral", LABELS, mimic_rows(keep=lambda d, st, su, p, v: v == "LATERAL"))
    expect("mimic_known", LABELS, mimic_rows(keep=lambda d, st, su, p, v: v != ""))
    expect("mimic_negbio", LABELS, mimic_rows(lambda su, st: {c: "1.0" if c == "Edema" else "" for c in LABELS}))
    with_none = mimic_rows()
    for dicom, study, subject, _, _ in mimic_images():
        none = STATE[mimic_study(subject, study)["No Finding"]] if study != NO_LABELS else -2
        with_none[dicom]["labels"].insert(8, none)
    expect("mimic_none", LABELS[:8] + ["No Finding"] + LABELS[8:], with_none)


def mimic_radiologist():
    """2.1.0: radiologists labelled some studies of the test split."""
    order = ["No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Airspace Opacity", "Edema",
             "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
             "Support Devices"]
    gold = lambda study: {c: ["1.0", "0.0", "-1.0", ""][(study + k) % 4] for k, c in enumerate(LABELS)}
    rows, read = [["study_id"] + order], set()
    for _, study, subject, part, _ in mimic_images():
        if part == "test" and study % 2 == 1 and study not in read:
            read.add(study)
            states = gold(study)
            rows.append([study] + [states.get({"Airspace Opacity": "Lung Opacity"}.get(c, c), "") for c in order])
    mimic_tables("mimic_radiologist", True)
    mimic_pictures("mimic_radiologist", "files/")
    put("mimic_radiologist/mimic-cxr-2.1.0-test-set-labeled.csv", table(rows))
    kept = mimic_rows(keep=lambda d, study, su, part, v: part != "test" or study in read)
    for dicom, study, _, part, _ in mimic_images():
        if dicom in kept:
            del kept[dicom]["report"], kept[dicom]["findings"], kept[dicom]["impression"]
            if part == "test":
                kept[dicom]["labels"] = [STATE[gold(study)[c]] for c in LABELS]
    expect("mimic_radiologist", LABELS, kept)


def annotation(keep=lambda *image: True):
    out = {"train": [], "val": [], "test": []}
    for image in mimic_images():
        if keep(*image):
            dicom, study, subject, part, _ = image
            part = {"validate": "val"}.get(part, part)
            out[part].append({"id": dicom, "study_id": study, "subject_id": subject, "report": f"Report of {study} .",
                              "image_path": [mimic_path(dicom, study, subject)], "split": part})
    return json.dumps(out)


def annotated(rows):
    for dicom, study, _, _, _ in mimic_images():
        if dicom in rows:
            rows[dicom].update(report=f"Report of {study} .", findings="", impression="")
    return rows


def mimic_r2gen():
    keep = lambda d, study, su, p, v: v != "LATERAL"  # a cleaned subset
    mimic_tables("mimic_r2gen", True, leave=("split", "metadata", "negbio"))
    mimic_pictures("mimic_r2gen", "images/", keep)
    put("mimic_r2gen/annotation.json", annotation(keep))
    expect("mimic_r2gen", LABELS, annotated(mimic_rows(keep=keep)))
    put("mimic_bare/annotation.json", annotation())  # holds no labels
    mimic_pictures("mimic_bare", "images/")
    mimic_tables("mimic_nolabels", True, leave=("chexpert",))
    mimic_pictures("mimic_nolabels", "files/")
    mimic_tables("mimic_nosplit", True, leave=("split",))
    mimic_pictures("mimic_nosplit", "files/")
    mimic_tables("mimic_nofiles", True)
    put("mimic_nofiles/files/p10/a.png", png(1))
    mimic_tables("mimic_nometa", True, leave=("metadata",))
    mimic_pictures("mimic_nometa", "files/")


def published(name, key_of, with_annotation):
    keys = {"train": {}, "val": {}, "test": {}}
    rows = mimic_rows()
    for dicom, study, subject, part, _ in mimic_images():
        key = key_of(study, subject) if study != 50414267 + 8000 else "1" * len(key_of(study, subject))  # val alone has it
        keys[{"validate": "val"}.get(part, part)].setdefault(key, []).append(mimic_path(dicom, study, subject))
        rows[dicom]["labels"] = [int(c) for c in key]
        if not with_annotation:
            for what in ("report", "findings", "impression"):
                del rows[dicom][what]
    for part, lists in keys.items():
        put(f"{name}/class2images_{part}.p", pickle.dumps(lists, protocol=4))
    mimic_pictures(name, "images/")
    return rows


def mimic_published():
    key = lambda study, subject: "".join("1" if mimic_study(subject, study)[c] == "1.0" else "0" for c in LABELS)
    rows = published("mimic_published", key, True)
    put("mimic_published/annotation.json", annotation())
    expect("mimic_published", LABELS, annotated(rows))
    expect("mimic_pickles", LABELS, published("mimic_pickles", key, False))
    # Patterns of another length, one key that is not like the others, and classes named 0 and 1.
    rows = published("mimic_short", lambda study, subject: key(study, subject)[:5], False)
    for row in rows.values():
        del row["group"], row["attributes"]
    expect("mimic_short", [f"label {k + 1}" for k in range(5)], rows)
    published("mimic_odd", lambda study, subject: key(study, subject)[:12 if study == 50414268 else 13], False)
    for part, first in (("train", 0), ("val", 6), ("test", 8)):
        put(f"two_classes/class2images_{part}.p",
            pickle.dumps({"0": [f"a{first}.png", f"a{first + 1}.png"], "1": [f"b{first}.png"]}))
        for i, name in enumerate((f"a{first}", f"a{first + 1}", f"b{first}")):
            put(f"two_classes/images/{name}.png", png(10 * first + i))
    expect("two_classes", ["0", "1"], {f"{c}{i}": {"label": int(c == "b"), "split": s} for s, i0 in ((0, 0), (1, 6), (2, 8))
                                       for c, i in (("a", i0), ("a", i0 + 1), ("b", i0))})


# ---- CheXpert ----

CHEXPERT = ["No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
            "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
            "Support Devices"]


def chexpert():
    rows, lateral = {}, {}
    tables = {}
    for part, first, count in (("train", 1, 24), ("valid", 64541, 8)):
        lines = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"] + CHEXPERT]
        for j in range(count):
            patient, is_lateral = first + j // 4, j % 4 == 3
            path = f"{part}/patient{patient:05d}/study{1 + j % 4 // 2}/view{1 + j % 2}_{'lateral' if is_lateral else 'frontal'}.jpg"
            words = ["1.0", "0.0", "-1.0", ""] if part == "train" else ["1.0", "0.0"]
            states = {c: words[(j * 5 + k * k) % len(words)] for k, c in enumerate(CHEXPERT)}
            lines.append([f"CheXpert-v1.0-small/{path}", "Female" if j % 3 else "Male", 40 + j,
                          "Lateral" if is_lateral else "Frontal", "" if is_lateral else "AP"] + [states[c] for c in CHEXPERT])
            put(f"chexpert/CheXpert-v1.0-small/{path}", png(j + first % 100))
            put(f"chexpert_moved/data/{path}", png(j + first % 100))
            rows[path] = {"labels": [STATE[states[c]] for c in LABELS], "split": 0 if part == "train" else 1, "group": patient,
                          "attributes": {"Age": 40 + j, "Sex": "Female" if j % 3 else "Male",
                                         "Frontal_Lateral": "Lateral" if is_lateral else "Frontal",
                                         "AP_PA": None if is_lateral else "AP"}}
            lateral[path] = is_lateral
        tables[part] = lines
        put(f"chexpert/CheXpert-v1.0-small/{part}.csv", table(lines))
        put(f"chexpert_moved/data/{part}.csv", table(lines))
    other = [tables["train"][0]] + [row[:5] + ["1.0"] * 14 for row in tables["train"][1:]]
    put("chexpert/CheXpert-v1.0-small/train_visualCheXbert.csv", table(other))
    expect("chexpert", LABELS, rows, by="path")
    expect("chexpert_frontal", LABELS, {p: r for p, r in rows.items() if not lateral[p]}, by="path")
    visual = {p: dict(r, labels=[1] * 13) if r["split"] == 0 else r for p, r in rows.items()}
    expect("chexpert_visual", LABELS, visual, by="path")
    as_test = {p: {k: v for k, v in dict(r, split=2).items() if k != "split" or r["split"] == 1} for p, r in rows.items()}
    expect("chexpert_test", LABELS, as_test, by="path", splits=[0, 1, 2])


# ---- ChestX-ray14 ----

NIH = ["Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
       "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"]


def nih():
    old = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
           "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""]
    lines, rows, lists = [], {}, {"train_val": [], "test": []}
    for j in range(60):
        name = f"{1 + j // 3:08d}_{j % 3:03d}"
        found = [] if j % 3 == 0 else [NIH[j % 14]] if j % 3 == 1 else [NIH[j % 14], NIH[(j + 3) % 14]]
        lines.append([name + ".png", "|".join(found) or "No Finding", j % 3, 1 + j // 3, 20 + j, "MF"[j % 2],
                      "PA" if j % 2 else "AP", 2682, 2749, 0.143, 0.143])
        lists["train_val" if j < 45 else "test"].append(name + ".png")
        rows[name] = {"labels": [int(c in found) for c in NIH], "group": 1 + j // 3,
                      "attributes": {"Patient Age": 20 + j, "Patient Gender": "MF"[j % 2]}}
        if j >= 45:
            rows[name]["split"] = 2
        picture = png(j, kind=6 if j == 7 else 0)
        put(f"nih/images_{1 + j // 20:03d}/images/{name}.png", picture)
        put(f"nih_flat/images/{name}.png", picture)
        put(f"nih_nolist/images_{1 + j // 20:03d}/{name}.png", picture)
    new = table([old[:-1]] + lines)
    first = table([old] + [r[:1] + ["Hernia"] + r[2:4] + [f"{r[4]:03d}Y"] + r[5:] + [""] for r in lines])
    put("nih/Data_Entry_2017_v2020.csv", new)
    put("nih/Data_Entry_2017.csv", first)
    put("nih/BBox_List_2017.csv", "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000001_001.png,Atelectasis,1,1,2,2,,,\n")
    put("nih_flat/Data_Entry_2017.csv", first)
    put("nih_nolist/Data_Entry_2017_v2020.csv", new)
    for tree in ("nih", "nih_flat"):
        put(f"{tree}/train_val_list.txt", "\n".join(lists["train_val"]) + "\n")
        put(f"{tree}/test_list.txt", "\r\n".join(lists["test"]))
    expect("nih", NIH, rows, splits=[0, 1, 2], whole_groups=True)
    hernia = {n: dict(r, labels=[0] * 13 + [1]) for n, r in rows.items()}
    expect("nih_flat", NIH, hernia, splits=[0, 1, 2], whole_groups=True)
    bare = {n: {k: v for k, v in r.items() if k != "split"} for n, r in rows.items()}
    expect("nih_nolist", NIH, bare, splits=[0, 1, 2], whole_groups=True)


# ---- arrays ----

def pictures(count, size, colour, salt):
    y, x = np.mgrid[0:size, 0:size]
    out = np.stack([(x * 7 + y * 13 + (i + salt) * 31) % 256 for i in range(count)]).astype(np.uint8)
    return np.stack([out, out // 2, 255 - out], axis=-1) if colour else out


def medmnist():
    counts = {"train": 40, "val": 10, "test": 14}
    derma = ["actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma", "benign keratosis-like lesions",
             "dermatofibroma", "melanoma", "melanocytic nevi", "vascular lesions"]
    chest = ["atelectasis", "cardiomegaly", "effusion", "infiltration", "mass", "nodule", "pneumonia", "pneumothorax",
             "consolidation", "edema", "emphysema", "fibrosis", "pleural", "hernia"]
    def save(name, size, colour, labels, packed=False, dtype=np.uint8):
        arrays = {}
        for s, n in counts.items():
            arrays[f"{s}_images"] = pictures(n, size, colour, len(s))
            arrays[f"{s}_labels"] = np.array([labels(s, i) for i in range(n)], dtype)
        os.makedirs(os.path.dirname(f"{WORK}/{name}"), exist_ok=True)
        (np.savez_compressed if packed else np.savez)(f"{WORK}/{name}", **arrays)
    def rows(labels, size, colour, several):
        return {f"{s}/{i:06d}": {("labels" if several else "label"): labels(s, i) if several else labels(s, i)[0],
                                 "split": SPLIT[s], "pixels": zlib.crc32(pictures(n, size, colour, len(s))[i].tobytes())}
                for s, n in counts.items() for i in range(n)}
    one = lambda s, i: [(i + len(s)) % 7]
    many = lambda s, i: [(i * 5 + k * k + len(s)) % 3 == 0 for k in range(14)]
    save("medmnist/dermamnist.npz", 28, True, one)
    expect("medmnist", derma, rows(one, 28, True, False), by="id")
    bare = {k: {n: v for n, v in r.items() if n != "pixels"} for k, r in rows(one, 28, True, False).items()}
    expect("medmnist_encoded", derma, bare, by="id")
    save("medmnist_chest/chestmnist_64.npz", 64, False, many, packed=True)
    expect("medmnist_chest", chest, {k: dict(r, labels=[int(v) for v in r["labels"]])
                                     for k, r in rows(many, 64, False, True).items()}, by="id")
    save("medmnist_own/own.npz", 28, False, lambda s, i: [3 + i % 2], dtype=np.int64)
    own = {k: dict(r, label=r["label"] - 3) for k, r in rows(lambda s, i: [3 + i % 2], 28, False, False).items()}
    expect("medmnist_own", ["3", "4"], own, by="id")
    save("medmnist_two/dermamnist.npz", 28, True, one)
    save("medmnist_two/dermamnist_64.npz", 64, True, one)
    expect("medmnist_two", derma, rows(one, 64, True, False), by="id")
    os.makedirs(f"{WORK}/medmnist_3d", exist_ok=True)
    np.savez(f"{WORK}/medmnist_3d/organmnist3d.npz", train_images=np.zeros((4, 28, 28, 28), np.uint8),
             train_labels=np.zeros((4, 1), np.uint8))
    os.makedirs(f"{WORK}/medmnist_bad", exist_ok=True)
    np.savez(f"{WORK}/medmnist_bad/dermamnist.npz", train_images=pictures(4, 28, True, 0),
             train_labels=np.array([[0], [1], [7], [2]], np.uint8))


def idx():
    def array(a):
        return struct.pack(">HBB", 0, 8, a.ndim) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()
    images = {"train": pictures(50, 28, False, 1), "t10k": pictures(20, 28, False, 3)}
    labels = {"train": (np.arange(50) * 7 % 10).astype(np.uint8), "t10k": (np.arange(20) % 10).astype(np.uint8)}
    rows = {}
    for part, split in (("train", None), ("t10k", 2)):
        for i in range(len(labels[part])):
            rows[f"{part}/{i:06d}"] = {"label": int(labels[part][i]), "pixels": zlib.crc32(images[part][i].tobytes())}
            if split is not None:
                rows[f"{part}/{i:06d}"]["split"] = split
        put(f"idx/{part}-images-idx3-ubyte.gz", gzip.compress(array(images[part])))
        put(f"idx/{part}-labels-idx1-ubyte.gz", gzip.compress(array(labels[part])))
        put(f"idx_plain/{part}-images.idx3-ubyte", array(images[part]))
        put(f"idx_plain/{part}-labels.idx1-ubyte", array(labels[part]))
        put(f"idx_nolabels/{part}-images-idx3-ubyte", array(images[part]))
        put(f"idx_short/{part}-images-idx3-ubyte", array(images[part]))
        put(f"idx_short/{part}-labels-idx1-ubyte", array(labels[part][:-1]))
    for tree in ("idx", "idx_plain"):
        expect(tree, [str(k) for k in range(10)], rows, by="id", splits=[0, 1, 2])


for make in (mimic_official, mimic_radiologist, mimic_r2gen, mimic_published, chexpert, nih, medmnist, idx):
    if not ONLY or make.__name__.split("_")[0] in ONLY:
        make()
