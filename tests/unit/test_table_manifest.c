/* The three kinds of data folder: rows, classes, splits, and what is refused; opening files below the root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/text.h"
#include "config/config.h"
#include "image/corpus.h"
#include "image/manifest.h"

static struct arena *arena;
static char root[PATH_MAX];
static struct manifest m;
static enum exit_code code;
static const char *why;
static const char *columns = "";
static enum label_kind label_kind = LABELS_AUTO;
static enum on_bad on_bad = ON_BAD_FAIL;

static int start(void **state)
{
    (void)state;
    const char *tmp = getenv("CFN_TEST_TMP");
    char name[PATH_MAX - 100];
    arena = arena_create("test", 1 << 16);
    snprintf(name, sizeof name, "%s/manifest-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(name) && realpath(name, root) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    char command[PATH_MAX + 20];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    arena_destroy(arena);
    return system(command);
}

static void put_bytes(const char *name, const void *bytes, size_t size)
{
    char *path = path_join(arena, root, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_true(path_make_dirs(arena, path, &why));
    *slash = '/';
    assert_true(file_write(arena, path, bytes, size, &why));
}

static void put(const char *name, const char *text)
{
    put_bytes(name, text, strlen(text));
}

static bool manifest(const char *reader, const char *data, const char *group)
{
    const struct pack_config pack = { .reader = reader,
                                      .labels = "labels.csv",
                                      .columns = columns,
                                      .missing = "NA, NaN, None, unknown",
                                      .label_kind = label_kind,
                                      .on_bad = on_bad,
                                      .group = group,
                                      .val_fraction = 0.2,
                                      .test_fraction = 0.3 };
    const struct manifest_request request = { .root = root, .data = data, .pack = &pack };
    why = "";
    return manifest_read(arena, &m, &request, &code, &why);
}

static void expect_table(const char *table)
{
    put("labels.csv", table);
    if (!manifest("auto", "any", ""))
        fail_msg("%s", why);
}

static void expect_refused(const char *table, enum exit_code expected, const char *reason)
{
    put("labels.csv", table);
    if (manifest("labels_csv", "any", ""))
        fail_msg("accepted: %s", table);
    assert_int_equal(code, expected);
    if (!strstr(why, reason))
        fail_msg("%s\nexpected: %s", why, reason);
}

static void test_table(void **state)
{
    (void)state;
    expect_table("path,label,split,age,site,report\nb.png,y,train,41,left,clear\na.png,x,train,,right,\n"
                 "c.png,x,validate,7.5,left,\"two\nlines\"\nd.png,y,test,1,left,z\n");
    assert_int_equal(m.rows, 4);
    assert_string_equal(m.path[0], "b.png"); /* the table's order */
    assert_int_equal(m.classes, 2);
    assert_string_equal(m.class_names[0], "x");
    assert_int_equal(m.label[0], 1);
    assert_int_equal(m.split[2], SPLIT_VAL);
    assert_int_equal(m.split[3], SPLIT_TEST);
    assert_int_equal(m.attributes, 2);
    const double *age = m.attribute[0].value, *site = m.attribute[1].value;
    assert_string_equal(m.attribute[0].name, "age");
    assert_true(age[0] == 41.0 && isnan(age[1]) && age[2] == 7.5);
    assert_int_equal(m.attribute[1].values, 2);
    assert_string_equal(m.attribute[1].value_names[1], "right");
    assert_true(site[0] == 0.0 && site[1] == 1.0 && site[2] == 0.0);
    assert_string_equal(m.report[2], "two\nlines");
    assert_string_equal(manifest_place(arena, &m, 3), "labels.csv:6");
}

static void test_whole_number_labels_sort_by_value(void **state)
{
    (void)state;
    expect_table("path,label\na,10\nb,9\nc,-1\n");
    assert_string_equal(m.class_names[0], "-1");
    assert_string_equal(m.class_names[2], "10");
    assert_int_equal(m.label[0], 2);
}

static void test_multi_label(void **state)
{
    (void)state;
    expect_table("path,split,Edema,Fracture,age\na,train,1.0,,30\nb,train,-1,0,0\nc,test,0,1,1\n");
    assert_true(m.multi_label);
    assert_int_equal(m.classes, 2);
    assert_string_equal(m.class_names[1], "Fracture");
    const int8_t expected[6] = { 1, LABEL_BLANK, LABEL_UNCERTAIN, 0, 0, 1 };
    assert_memory_equal(m.labels, expected, 6);
    assert_int_equal(m.attributes, 1);
    expect_table("path,label:Edema,smoker\na,1,1\nb,,0\n");
    assert_int_equal(m.classes, 1); /* named columns only: smoker is an attribute */
    assert_string_equal(m.class_names[0], "Edema");
    assert_int_equal(m.attributes, 1);
    expect_refused("path,label:Edema\na,1\nb,2\n", EXIT_BAD_DATA, "labels.csv:3: label 'Edema' is '2'");
    expect_refused("path,note\na,yes\n", EXIT_BAD_DATA, "no column 'label'");
}

static void test_table_refused(void **state)
{
    (void)state;
    expect_refused("what,label\na,x\n", EXIT_BAD_DATA, "labels.csv:1: no column 'path'");
    expect_refused("path,label\na,x\nb,\n", EXIT_BAD_DATA, "labels.csv:3: an image without label");
    expect_refused("path,label,split\na,cat,train\nb,cta,test\n", EXIT_BAD_DATA, "labels.csv:3: unknown label 'cta'");
    expect_refused("path,label,split\na,x,train\nb,x,later\n", EXIT_BAD_DATA, "labels.csv:3: split 'later'");
    expect_refused("path,label\na,x\nb,x\na,x\n", EXIT_BAD_DATA, "labels.csv:4: the path of an earlier row (line 2)");
    expect_refused("path,id,label\na,1,x\nb,1,x\n", EXIT_BAD_DATA, "labels.csv:3: the id of an earlier row (line 2)");
    expect_refused("path,label\n../a,x\n", EXIT_BAD_DATA, "labels.csv:2: the path leaves");
    expect_refused("path,label\nok,x\nb/../../a,x\n", EXIT_BAD_DATA, "labels.csv:3: the path leaves");
    expect_refused("path,label\n/etc/passwd,x\n", EXIT_BAD_DATA, "labels.csv:2: the path leaves");
    expect_refused("path,label\n,x\n", EXIT_BAD_DATA, "labels.csv:2: the path leaves");
    put("labels.csv", "path,label,slide\na,x,1\n");
    assert_false(manifest("auto", "any", "slid"));
    assert_int_equal(code, EXIT_BAD_CONFIG);
    assert_non_null(strstr(why, "did you mean 'slide'"));
}

/* Without a split column: by hash, groups together, near the fractions, whatever else is in the table. */
static void test_hash_split(void **state)
{
    (void)state;
    struct text table = text_new(arena);
    int64_t counts[SPLITS] = { 0 };
    text_add(&table, "path,label,lesion\n");
    for (int i = 0; i < 3000; i++)
        text_add(&table, "i%d.png,%c,g%d\n", i, "xy"[i % 2], i / 3);
    put("labels.csv", table.data);
    assert_true(manifest("auto", "any", "lesion"));
    for (int64_t i = 0; i < m.rows; i++) {
        counts[m.split[i]]++;
        assert_int_equal(m.group[i], i / 3);
        assert_int_equal(m.split[i], m.split[i / 3 * 3]);
    }
    assert_in_range(counts[SPLIT_VAL], 450, 750);
    assert_in_range(counts[SPLIT_TEST], 750, 1050);
    uint8_t alone = m.split[2999];
    put("labels.csv", "path,label,lesion\ni2999.png,x,g999\n");
    assert_true(manifest("auto", "any", "lesion"));
    assert_int_equal(m.split[0], alone);
}

static void test_class_folders(void **state)
{
    (void)state;
    put("train/dog/2.PNG", "x");
    put("train/cat/1.jpg", "x");
    put("train/cat/0.png", "x");
    put("train/cat/.hidden.png", "x");
    put("valid/dog/3.jpeg", "x");
    put("test/cat/4.png", "x");
    put("train/cat/readme.txt", "x"); /* one of six files is more than a tenth */
    assert_false(manifest("auto", "any", ""));
    assert_non_null(strstr(why, "1 .txt"));
    on_bad = ON_BAD_SKIP;
    assert_true(manifest("auto", "any", ""));
    assert_int_equal(m.rows, 5);
    assert_string_equal(m.path[0], "train/cat/0.png");
    assert_string_equal(m.path[2], "train/dog/2.PNG");
    assert_string_equal(m.class_names[1], "dog");
    assert_int_equal(m.label[3], 1);
    assert_int_equal(m.split[3], SPLIT_VAL);
    assert_int_equal(m.split[4], SPLIT_TEST);
    assert_non_null(strstr(m.notes, "left out: 1 .txt"));
    put("test/bird/5.png", "x");
    assert_false(manifest("auto", "any", ""));
    on_bad = ON_BAD_FAIL;
    assert_int_equal(code, EXIT_BAD_DATA);
    assert_non_null(strstr(why, "unknown class 'bird'"));
}

static void test_folders_without_splits(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++)
        put(arena_printf(arena, "%s/%d.png", i % 2 ? "a" : "b", i), "x");
    assert_true(manifest("class_folders", "any", ""));
    assert_int_equal(m.rows, 200);
    int64_t counts[SPLITS] = { 0 };
    for (int64_t i = 0; i < m.rows; i++)
        counts[m.split[i]]++;
    assert_true(counts[0] > 50 && counts[1] > 10 && counts[2] > 20);
    assert_true(path_make_dirs(arena, path_join(arena, root, "empty"), &why));
    assert_false(manifest("class_folders", "any", ""));
    assert_non_null(strstr(why, "class folder 'empty' holds no"));
}

static void test_nothing_there(void **state)
{
    (void)state;
    assert_false(manifest("auto", "any", ""));
    assert_int_equal(code, EXIT_NO_INPUT);
    assert_false(manifest("labels_csv", "any", ""));
    assert_int_equal(code, EXIT_NO_INPUT);
    assert_false(manifest("class2images", "any", ""));
    assert_int_equal(code, EXIT_NO_INPUT);
    strncat(root, "/none", sizeof root - strlen(root) - 1);
    assert_false(manifest("auto", "any", ""));
    assert_int_equal(code, EXIT_NO_INPUT);
    *strrchr(root, '/') = '\0';
}

static void test_class2images(void **state)
{
    (void)state;
    put("class2images_train.p", "(dVnv\n(lVa.jpg\naVb.jpg\nasVmel\n(lVc.jpg\nas.");
    put("class2images_val.p", "(dVmel\n(lVd.jpg\nas.");
    put("class2images_test.p", "(d.");
    if (!manifest("auto", "ham", ""))
        fail_msg("%s", why);
    assert_int_equal(m.rows, 4);
    assert_string_equal(m.class_names[0], "nv"); /* order of the train file */
    assert_string_equal(m.path[3], "images/d.jpg");
    assert_string_equal(m.id[3], "d.jpg");
    assert_int_equal(m.label[3], 1);
    assert_int_equal(m.split[3], SPLIT_VAL);
    put("class2images_test.p", "(dVbkl\n(lVe.jpg\nas.");
    assert_false(manifest("auto", "ham", ""));
    assert_non_null(strstr(why, "class2images_test.p: unknown class 'bkl'"));
    put("class2images_test.p", "(dVnv\n(lV../../e.jpg\nas.");
    assert_false(manifest("auto", "ham", ""));
    assert_non_null(strstr(why, "the path leaves"));
    put("class2images_test.p", "cposix\nsystem\n(Vtouch x\ntR.");
    assert_false(manifest("auto", "ham", ""));
    assert_int_equal(code, EXIT_BAD_DATA);
    assert_non_null(strstr(why, "class2images_test.p: byte 0: opcode GLOBAL 'posix.system'"));
    put("class2images_test.p", "(lVa\na.");
    assert_false(manifest("auto", "ham", ""));
    assert_non_null(strstr(why, "expected a dictionary"));
    put("class2images_test.p", "(dVnv\nI1\ns.");
    assert_false(manifest("auto", "ham", ""));
    assert_non_null(strstr(why, "class 'nv' has no list"));
}

/* The published splits have no groups: they come from the table of metadata, by file name. */
static void test_groups_from_metadata(void **state)
{
    (void)state;
    put("class2images_train.p", "(dVnv\n(lVp/a.jpg\naVb.jpg\nas.");
    put("class2images_val.p", "(dVnv\n(lVc.jpg\nas.");
    put("class2images_test.p", "(dVnv\n(lVd.jpg\nas.");
    put("labels.csv", "lesion_id,image_id,dx\nL9,d,nv\nL1,a,nv\nL7,b,nv\n,c,nv\n");
    assert_true(manifest("auto", "ham", "lesion_id"));
    const int64_t expected[4] = { 0, 1, 2, 3 };
    assert_memory_equal(m.group, expected, sizeof expected);
    put("labels.csv", "lesion_id,image_id,dx\nL9,d,nv\nL9,a,nv\nL7,b,nv\nL9,c,nv\n");
    assert_true(manifest("auto", "ham", "lesion_id"));
    const int64_t shared[4] = { 0, 1, 0, 0 };
    assert_memory_equal(m.group, shared, sizeof shared);
    assert_false(manifest("auto", "ham", "patient"));
    assert_int_equal(code, EXIT_BAD_CONFIG);
    put("labels.csv", "lesion_id,image_id,dx\nL9,d,nv\n");
    assert_false(manifest("auto", "ham", "lesion_id"));
    assert_int_equal(code, EXIT_BAD_DATA);
    assert_non_null(strstr(why, "does not hold this image"));
}

static void test_mimic(void **state)
{
    (void)state;
    put("class2images_train.p", "(dV1000000000001\n(lVp10/a.jpg\nasV0000000000000\n(lVp10/b.jpg\nas.");
    put("class2images_val.p", "(dV0100000000000\n(lVp11/c.jpg\nas.");
    put("class2images_test.p", "(d.");
    if (!manifest("auto", "mimic", ""))
        fail_msg("%s", why);
    assert_true(m.multi_label);
    assert_int_equal(m.classes, 13);
    assert_string_equal(m.class_names[0], "Atelectasis");
    assert_string_equal(m.class_names[12], "Support Devices");
    assert_true(m.labels[0] == 1 && m.labels[12] == 1 && m.labels[1] == 0 && m.labels[13] == 0);
    assert_true(m.labels[2 * 13 + 1] == 1);
    put("class2images_test.p", "(dV010\n(lVp11/c.jpg\nas.");
    assert_false(manifest("auto", "mimic", ""));
    assert_non_null(strstr(why, "expected 13 digits"));
}

static void test_open_below_root(void **state)
{
    (void)state;
    size_t size;
    put("in/a.png", "hello");
    char *inside = path_join(arena, root, "in/link.png"), *outside = path_join(arena, root, "in/out.png");
    assert_int_equal(symlink("a.png", inside), 0);
    assert_int_equal(symlink("/etc/passwd", outside), 0);
    assert_int_equal(symlink("/dev", path_join(arena, root, "in/dev")), 0);
    assert_int_equal(mkfifo(path_join(arena, root, "in/fifo.png"), 0600), 0);
    const uint8_t *bytes = manifest_open(arena, root, "in/a.png", 100, &size, &why);
    assert_non_null(bytes);
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_non_null(manifest_open(arena, root, "in/link.png", 100, &size, &why));
    static const char *const refused[][2] = { { "in/out.png", "leads out" }, { "in/dev/zero", "leads out" },
                                              { "in/fifo.png", "regular" },  { "in", "a folder" },
                                              { "in/none.png", "missing" },  { "../../etc/passwd", "" } };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        assert_null(manifest_open(arena, root, refused[i][0], 100, &size, &why));
        assert_non_null(strstr(why, refused[i][1]));
    }
    assert_null(manifest_open(arena, root, "in/a.png", 4, &size, &why));
    assert_non_null(strstr(why, "5 bytes, 4 at most"));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_table),
        IN_FOLDER(test_whole_number_labels_sort_by_value),
        IN_FOLDER(test_multi_label),
        IN_FOLDER(test_table_refused),
        IN_FOLDER(test_hash_split),
        IN_FOLDER(test_class_folders),
        IN_FOLDER(test_folders_without_splits),
        IN_FOLDER(test_nothing_there),
        IN_FOLDER(test_class2images),
        IN_FOLDER(test_groups_from_metadata),
        IN_FOLDER(test_mimic),
        IN_FOLDER(test_open_below_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
