#!/usr/bin/python3
"""cfn pack on tables as spreadsheets, R, pandas and people write them: what each must become, or how it is refused.
Usage: table_cases.py FOLDER (environment: CFN)"""
import codecs, gzip, sys

from trees import Bench, png, put

work = sys.argv[1]
bench, root, N, nan = Bench(work), f"{work}/d", 24, float("nan")
for i in range(N):
    put(f"{root}/img/{i:02d}.png", png(i))
split = lambda i: ("train", "train", "train", "train", "val", "test")[i % 6]
label = lambda i: ("nv", "mel", "bcc")[i // 6 % 3]
HEAD = "path,label,split"
PLAIN = {"class": [label(i) for i in range(N)], "splits": [split(i) for i in range(N)], "classes": ["bcc", "mel", "nv"],
         "id": [f"img/{i:02d}.png" for i in range(N)], "attributes": []}


def rows(line, head=HEAD, end="\n"):
    return head + end + "".join(line(i) + end for i in range(N))


def row(i, sep=","):
    return sep.join((f"img/{i:02d}.png", label(i), split(i)))


def good(name, text, expected=PLAIN, *options, said=(), file=None):
    file = file or f"{name}.csv"
    put(f"{root}/{file}", text)
    bench.good(f"table: {name}", root, expected, f"pack.labels={file}", *options, said=said)


def bad(name, text, said, *options, code=65):
    put(f"{root}/{name}.csv", text)
    bench.bad(f"table: {name} is refused", root, code, said, f"pack.labels={name}.csv", *options)


# Separators, encodings, line ends, what stands around the table.
good("semicolons", rows(lambda i: row(i, ";"), "path;label;split"), said=["separated by semicolons"])
good("TAB", rows(lambda i: row(i, "\t"), "path\tlabel\tsplit"), said=["separated by TAB"])
good("Excel's first line", "sep=;\r\n" + rows(lambda i: row(i, ";"), "path;label;split", "\r\n"))
good("UTF-8 with a mark", codecs.BOM_UTF8 + rows(row).encode())
good("UTF-16", codecs.BOM_UTF16_LE + rows(row).encode("utf-16-le"), said=["UTF-16"])
good("UTF-16, other order", codecs.BOM_UTF16_BE + rows(row).encode("utf-16-be"), said=["UTF-16"])
good("lines that end by CR", rows(row, end="\r"))
good("gzip", gzip.compress(rows(row).encode()), file="packed.csv.gz")
good("gzip found by the plain name", gzip.compress(rows(row).encode()), file="packed.csv")
good("empty lines", "\n\n" + rows(lambda i: row(i) + "\n"))
good("rows of empty cells", rows(row) + ",,\n,,\n", said=["2 rows without any text"])
good("a separator behind every row", rows(lambda i: row(i) + ","), said=["24 rows have empty cells"])
good("a separator behind every line", rows(lambda i: row(i) + ",", HEAD + ","), said=["1 of 4 columns without a name"])
good("row numbers of pandas", rows(lambda i: f"{i},{row(i)}", "," + HEAD), said=["1 of 4 columns without a name"])
good("row names of R", rows(lambda i: f'"{i}","img/{i:02d}.png","{label(i)}","{split(i)}"', '"","path","label","split"'))
good("a comment", "# exported by hand\n" + rows(row), said=["# exported by hand"])
good("spaces after commas", rows(lambda i: f"img/{i:02d}.png, {label(i)}, {split(i)}", "path, label, split"))
dots = [("naevus" if i % 2 else "n\u00e6vus") for i in range(N)]
good("Windows-1252", rows(lambda i: f"img/{i:02d}.png,{dots[i]},{split(i)}").encode("cp1252"), {"class": dots},
     said=["line 2), read as Windows-1252"])
good("a header of Windows-1252", rows(lambda i: f"{row(i)},{i}", HEAD + ",Gr\u00f6\u00dfe").encode("cp1252"),
     PLAIN | {"attributes": ["Gr\u00f6\u00dfe"], "@Gr\u00f6\u00dfe": range(N)})
bad("two encodings", rows(lambda i: f"img/{i:02d}.png,n\u00e6vus,{split(i)}").encode() + "img/x.png,n\u00e6vus,train\n".encode("cp1252"),
    [":26: byte 0xE6 is not UTF-8"])
bad("a cut gzip file", gzip.compress(rows(row).encode())[:-30], ["cut off or damaged"])
bad("NUL bytes", rows(row) + "\0\0\0", [":26: a NUL byte"])
bad("a quote in a cell", rows(lambda i: f'{row(i)},5" probe', HEAD + ",note"), [":2: a quote inside"])

# Paths.
good("backslashes", rows(lambda i: row(i).replace("/", "\\")))
good("a path of another machine", rows(lambda i: "C:\\data\\" + row(i).replace("/", "\\")), said=["begin with 'C:/data/'"])
good("a path with the folder of an archive", rows(lambda i: "archive-v1.0/" + row(i)), said=["begin with 'archive-v1.0/'"])
good("an absolute path", rows(lambda i: f"{root}/{row(i)}"))
good("dots and double slashes", rows(lambda i: f"./img//{i:02d}.png,{label(i)},{split(i)}"))
good("no ending", rows(lambda i: f"img/{i:02d},{label(i)},{split(i)}"), said=["24 of 24 images are found with an ending"])
good("an ending in capitals", rows(lambda i: f"img/{i:02d}.PNG,{label(i)},{split(i)}"))
good("names alone", rows(lambda i: f"{i:02d}.png,{label(i)},{split(i)}"), said=["24 of 24 images are found by name"])
good("stems as ids", rows(lambda i: f"{i:02d},{label(i)},{split(i)}", "image_id,dx,split"),
     PLAIN | {"id": [f"{i:02d}" for i in range(N)]}, said=["'image_id' is taken as 'path'", "'dx' is taken as 'label'"])
bad("the same path in two forms", rows(lambda i: f"{'./img/%02d' % (i - 1) if i % 2 else 'img/%02d' % i}.png,{label(i)},{split(i)}"),
    [":3: the path of an earlier row (line 2)"])
bad("a path with ..", rows(lambda i: f"../d/{row(i)}"), [":2: the path leaves the data folder"])
put(f"{work}/d/img/both.png", png(90)); put(f"{work}/d/other/both.png", png(91))
bad("a name that two folders have", "path,label\nboth.png,a\n01.png,b\n", [":2: 'both.png' may mean img/both.png or other/both.png"])
put(f"{work}/d/other/moved.png", png(92))
bad("a file that is missing, though another folder has its name", rows(row) + "img/moved.png,nv,train\n",
    [":26: img/moved.png: the file is missing"])

# Names of columns, splits.
good("columns in capitals", rows(row, "Path,Label,Split"), said=["'Path' is taken as 'path'"])
good("usual names of columns", rows(row, "image,dx,set"), said=["'dx' is taken as 'label'", "'set' is taken as 'split'"])
good("columns that are named", rows(row, "a,b,c"), PLAIN, "pack.columns=path=a,label=b,split=c", said=["'a' is taken as 'path'"])
bad("a named column that is not there", rows(row), ["no column 'Labl' (did you mean 'label'?)"], "pack.columns=label=Labl", code=78)
bad("a meaning that is none", rows(row), ["NAME one of path, label, split, id, report"], "pack.columns=lable=label", code=78)
good("splits in capitals", rows(lambda i: f"img/{i:02d}.png,{label(i)},{split(i).capitalize()}"))
words = dict(train="Training", val="validation", test="TESTING")
good("splits in other words", rows(lambda i: f"img/{i:02d}.png,{label(i)},{words[split(i)]}"))
bad("a row without split", rows(lambda i: f"img/{i:02d}.png,{label(i)},{split(i) if i else ''}"), [":2: split ''"])

# Labels.
bad("a label in two cases", rows(lambda i: f"img/{i:02d}.png,{'NV' if i == 3 else 'nv' if i % 2 else 'mel'},{split(i)}"),
    ["classes 'NV' and 'nv' differ only in case"])
two = ["nv" if i % 2 else "mel" for i in range(N)]
good("a label with a space behind it", rows(lambda i: f'img/{i:02d}.png,"{two[i]}{" " * (i == 3)}",{split(i)}'), {"class": two},
     said=["1 labels are taken without the spaces"])
nfc = [("n\u00e4vus" if i % 2 else "mel") for i in range(N)]
nfd = ["na\u0308vus" if i == 1 else nfc[i] for i in range(N)]
good("letters in two forms", rows(lambda i: f"img/{i:02d}.png,{nfd[i]},{split(i)}"), {"class": nfc})
good("labels that are numbers", rows(lambda i: f"img/{i:02d}.png,{float(i // 6 * 4)},{split(i)}"),
     {"classes": ["0.0", "4.0", "8.0", "12.0"]})
bad("a label that is missing", rows(lambda i: f"img/{i:02d}.png,{'nan' if i == 2 else label(i)},{split(i)}"),
    [":4: an image without label, 'nan'", "pack.missing"])
none = ["none" if i % 2 else "mel" for i in range(N)]
good("a class of the name none", rows(lambda i: f"img/{i:02d}.png,{none[i]},{split(i)}"), {"class": none}, "pack.missing=NA")
bad("a label that train lacks", rows(lambda i: f"img/{i:02d}.png,{'x' if i == 4 else label(i)},{split(i)}"), [":6: unknown label 'x'"])
html = ["<b>&'" if i % 2 else "a" for i in range(N)]
good("a label of HTML", rows(lambda i: f"img/{i:02d}.png,{html[i]},{split(i)}"), {"class": html})

states = ["1.0", "0.0", "nan", "-1.0"]
good("labels with nan", rows(lambda i: f"img/{i:02d}.png,{split(i)},{states[i % 4]},{i % 2}.0", "path,split,Edema,Fracture"),
     {"classes": ["Edema", "Fracture"], "labels": [[[1, 0, -2, -1][i % 4], i % 2] for i in range(N)], "attributes": []},
     said=["2 labels, the columns that hold only", "Edema, Fracture"])
good("labels True and False", rows(lambda i: f"img/{i:02d}.png,{split(i)},{bool(i % 2)},{bool(i % 3)}", "path,split,A,B"),
     {"labels": [[i % 2, int(i % 3 > 0)] for i in range(N)]})
good("named labels", rows(lambda i: f"img/{i:02d}.png,{split(i)},{['True', 'False'][i % 2]},{i % 2}", "path,split,label:Edema,smoker"),
     {"classes": ["Edema"], "labels": [[1 - i % 2] for i in range(N)], "@smoker": [i % 2 for i in range(N)]})
bad("a named label with a word", rows(lambda i: f"img/{i:02d}.png,{'yes' if i == 3 else 1}", "path,label:A"), [":5: label 'A' is 'yes'"])
hot = lambda i: ",".join("1.0" if k == i // 6 % 3 else "0.0" for k in range(4))
one_hot = rows(lambda i: f"img/{i:02d}.png,{split(i)},{hot(i)}", "path,split,MEL,NV,BCC,UNK")
kinds = [("MEL", "NV", "BCC")[i // 6 % 3] for i in range(N)]
good("one-hot columns", one_hot, {"class": kinds, "classes": ["MEL", "NV", "BCC"]},
     said=["one class per image", "MEL, NV, BCC, UNK", "'UNK' is 1 in no row"])
good("one-hot columns as labels", one_hot, {"classes": ["MEL", "NV", "BCC", "UNK"]}, "pack.label_kind=several")
bad("columns asked to be one-hot", rows(lambda i: f"img/{i:02d}.png,{i % 2},{i % 3 % 2}", "path,A,B"),
    ["pack.label_kind: one"], "pack.label_kind=one")
lists = ["Edema|Mass", "Mass", "Edema | Nodule"]
good("lists of labels", rows(lambda i: f"img/{i:02d}.png,{lists[i % 3]},{split(i)}"),
     {"classes": ["Edema", "Mass", "Nodule"], "labels": [[[1, 1, 0], [0, 1, 0], [1, 0, 1]][i % 3] for i in range(N)]},
     said=["holds lists with |"])
good("a bar in a name", rows(lambda i: f"img/{i:02d}.png,{lists[i % 2]},{split(i)}"), {"classes": ["Edema|Mass", "Mass"]},
     "pack.label_kind=one")
good("a column that is nearly a label", rows(lambda i: f"img/{i:02d}.png,{split(i)},{i % 2},{2 if i == 7 else i % 2}", "path,split,A,B"),
     {"classes": ["A"], "attributes": ["B"]}, said=[":9: column 'B' is no label: it holds '2'"])

# Attributes and groups.
known = [nan if i == 5 else 40 + i for i in range(N)]
for word in "NA", "nan", "unknown", "None", "":
    good(f"an age that is '{word}'", rows(lambda i: f"{row(i)},{word if i == 5 else 40 + i}", HEAD + ",age"), PLAIN |
         {"attributes": ["age"], "@age": known}, said=[f"1 of 24 cells are '{word}'"] if word else [])
good("decimal commas", rows(lambda i: f'{row(i)},"{40 + i},5"', HEAD + ",age"), {"@age": [40.5 + i for i in range(N)]},
     said=["commas are read as decimal points"])
good("Excel's texts", rows(lambda i: f'{row(i)},"=""{40 + i}"""', HEAD + ",age"), {"@age": [40 + i for i in range(N)]})
good("commas before thousands", rows(lambda i: f'{row(i)},"{i + 1},{i:03d}"', HEAD + ",area"), {"attributes": []},
     said=["column 'area' is left out: a comma before three digits"])
good("whole numbers of eight digits", rows(lambda i: f"{row(i)},{50414267 + i}", HEAD + ",study_id"),
     {"@study_id": [50414267 + i for i in range(N)]})
uid = [str(12345678901234567890 + i // 6) for i in range(N)]
good("whole numbers of twenty digits", rows(lambda i: f"{row(i)},{uid[i]}", HEAD + ",uid"), {"@uid": uid}, said=["taken as text"])
good("numbers out of range", rows(lambda i: f"{row(i)},{i}e300", HEAD + ",v"), {"attributes": []}, said=[":3: column 'v' is left out"])
good("names that are the same in a path", rows(lambda i: f"{row(i)},{i},{2 * i}", HEAD + ",AP/PA,AP.PA"),
     {"@AP_PA": range(N), "@AP_PA_2": range(0, 2 * N, 2)}, said=["'AP/PA' is stored as attribute 'AP_PA'", "'AP_PA_2'"])
good("odd names", rows(lambda i: f"{row(i)},{i},{2 * i}", HEAD + ",.,Gr\u00f6\u00dfe (mm\u00b2)"), {"@_": range(N), "@Gr\u00f6\u00dfe (mm\u00b2)": range(0, 2 * N, 2)})
sex = [None if i == 5 else ("female", "male")[i % 2] for i in range(N)]
good("an attribute of text", rows(lambda i: f"{row(i)},{sex[i] or 'unknown'},n{i}", HEAD + ",sex,note"), {"attributes": ["sex"], "@sex": sex},
     said=["'sex' is text of 2 values", "'note' is left out: 24 different texts"])
for word in "NA", "", "unknown", "nan":
    good(f"a patient that is '{word}'", rows(lambda i: f"{row(i)},{word if i % 5 else 'p%d' % (i // 10)}", HEAD + ",patient"),
         {"group": [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 9, 14, 15, 16, 17, 18, 19, 20, 21]}, "pack.group=patient")

# A stated table is read or refused, never replaced; groups are joined by path first, and never by guess.
bad_name = ["pack.labels: metdata.csv is not in"]
put(f"{work}/two/a/1.png", png(1)); put(f"{work}/two/b/2.png", png(2)); put(f"{work}/two/metadata.csv", "path,label\na/1.png,x\nb/2.png,y\n")
bench.bad("table: a name that is no file", f"{work}/two", 66, bad_name, "pack.labels=metdata.csv", ranks=4)
bench.bad("table: a path that is no file", f"{work}/two", 66, ["pack.labels: /none/metadata.csv"], "pack.labels=/none/metadata.csv")
bench.good("table: an absolute path", f"{work}/two", {"class": ["x", "y"]}, f"pack.labels={work}/two/metadata.csv")
bench.good("table: class folders with groups from a table", f"{work}/two", {"class": ["a", "b"], "group": [0, 1], "reader": ["class_folders"]},
           "pack.reader=class_folders", "pack.labels=metadata.csv", "pack.group=label")
bench.bad("table: one that would not be read", f"{work}/two", 78, ["metadata.csv would not be read"], "pack.reader=class_folders",
          "pack.labels=metadata.csv")
bench.bad("table: another name beside class folders", f"{work}/two", 65, ["metadata.csv, which no reader knows", "pack.labels"])
for c in "ab":
    for i in range(12):
        put(f"{work}/join/images/{c}/{i:03d}.png", png(100 + i + (c == "b") * 20))
for s, pick in (("train", (0, 1)), ("val", (2,)), ("test", (3,))):
    put(f"{work}/join/class2images_{s}.p", "(d" + "".join(
        f"V{c}\n(l" + "".join(f"V{c}/{i:03d}.png\na" for i in range(12) if i % 4 in pick) + "s" for c in "ab") + ".")
put(f"{work}/join/meta.csv", "path,patient\n" + "".join(f"images/{c}/{i:03d}.png,{c}{i // 2}\n" for c in "ab" for i in range(12)))
put(f"{work}/join/twice.csv", "image_id,patient\n" + "".join(f"{i:03d},{p}{i}\n" for i in range(12) for p in "xy"))
put(f"{work}/join/once.csv", "image_id,patient\n" + "".join(f"{i:03d},x{i}\n" for i in range(12)))
order = [f"{c}{i // 2}" for pick in ((0, 1), (2,), (3,)) for c in "ab" for i in range(12) if i % 4 in pick]
bench.good("join: by path", f"{work}/join", {"group": [list(dict.fromkeys(order)).index(g) for g in order]}, "pack.labels=meta.csv",
           "pack.group=patient", ranks=2)
bench.bad("join: two lines name an image", f"{work}/join", 65, ["lines 2 and 3 of twice.csv both name this image"],
          "pack.labels=twice.csv", "pack.group=patient")
bench.bad("join: a line names two images", f"{work}/join", 65, ["may mean images/a/000.png or images/b/000.png"],
          "pack.labels=once.csv", "pack.group=patient")

# The same at any number of ranks, with everything a manifest may have.
put(f"{root}/ranks.csv", rows(lambda i: f"{row(i)},{sex[i] or 'NA'},{50414267 + i},{i / 3},p{i // 3}", HEAD + ",sex,study,x,patient"))
one = bench.pack(root, "pack.labels=ranks.csv", "pack.group=patient")[2]
for ranks in 2, 3, 4:
    bench.good(f"table: the same at {ranks} ranks", root, one, "pack.labels=ranks.csv", "pack.group=patient", ranks=ranks)
