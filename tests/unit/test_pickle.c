/* The pickle reader: what Python writes at every protocol, what it must refuse, and damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "store/pickle.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* pickle.dumps({'nv': ['a/1.jpg', 'b.jpg'], 'mel': ['c.jpg'], 'empty': []}, protocol) */
static const char *const protocol_0 = "(dp0\nVnv\np1\n(lp2\nVa/1.jpg\np3\naVb.jpg\np4\nasVmel\np5\n(lp6\nVc.jpg\np7\na"
                                      "sVempty\np8\n(lp9\ns.";
static const uint8_t protocol_2[] = "\x80\x02}q\x00(X\x02\x00\x00\x00nvq\x01]q\x02(X\x07\x00\x00\x00"
                                    "a/1.jpgq\x03X\x05\x00\x00\x00"
                                    "b.jpgq\x04"
                                    "eX\x03\x00\x00\x00melq\x05]q\x06X\x05\x00\x00\x00"
                                    "c.jpgq\x07"
                                    "aX\x05\x00\x00\x00"
                                    "emptyq\x08]q\x09u.";
static const uint8_t protocol_4[] = "\x80\x04\x95\x3b\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x02nv\x94]\x94(\x8c\x07"
                                    "a/1.jpg\x94\x8c\x05"
                                    "b.jpg\x94"
                                    "e\x8c\x03mel\x94]\x94\x8c\x05"
                                    "c.jpg\x94"
                                    "a\x8c\x05"
                                    "empty\x94]\x94u.";

static struct arena *arena;
static const char *why;

static const struct pickle *read(const uint8_t *bytes, size_t size)
{
    why = NULL;
    const struct pickle *value = pickle_read(arena, "f.p", bytes, size, &why);
    assert_true((value == NULL) == (why != NULL));
    return value;
}

static void expect_corpus(const struct pickle *dict)
{
    if (!dict)
        fail_msg("%s", why);
    assert_int_equal(dict->type, PICKLE_DICT);
    assert_int_equal(dict->count, 6);
    assert_string_equal(dict->items[0]->text, "nv");
    assert_int_equal(dict->items[1]->count, 2);
    assert_string_equal(dict->items[1]->items[0]->text, "a/1.jpg");
    assert_string_equal(dict->items[1]->items[1]->text, "b.jpg");
    assert_string_equal(dict->items[2]->text, "mel");
    assert_string_equal(dict->items[3]->items[0]->text, "c.jpg");
    assert_string_equal(dict->items[4]->text, "empty");
    assert_int_equal(dict->items[5]->count, 0);
}

static void test_protocols(void **state)
{
    (void)state;
    uint8_t copy[sizeof protocol_4];
    expect_corpus(read((const uint8_t *)protocol_0, strlen(protocol_0)));
    expect_corpus(read(protocol_2 + 2, sizeof protocol_2 - 3)); /* protocol 1 has no header */
    expect_corpus(read(protocol_2, sizeof protocol_2 - 1));
    expect_corpus(read(protocol_4, sizeof protocol_4 - 1));
    memcpy(copy, protocol_4, sizeof copy);
    copy[1] = 5;
    expect_corpus(read(copy, sizeof copy - 1));
    copy[1] = 6;
    assert_null(read(copy, sizeof copy - 1));
    assert_non_null(strstr(why, "protocol"));
}

static void test_values(void **state)
{
    (void)state;
    /* {'t': (1, -2, 70000, 2**40), 'l': ('x', 'y', 'z', 'w'), 'n': None, 'b': True, 's': 'same', 'u': 'same'} */
    const struct pickle *dict =
        read(BYTES("\x80\x04\x95\x52\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01t\x94(K\x01J\xfe\xff\xff\xff"
                   "Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01t\x94\x8c\x01l\x94(\x8c\x01x\x94"
                   "\x8c\x01y\x94\x8c\x01z\x94\x8c\x01w\x94t\x94\x8c\x01n\x94N\x8c\x01"
                   "b\x94\x88\x8c\x01s\x94\x8c\x04same\x94\x8c\x01u\x94h\x0cu."));
    if (!dict)
        fail_msg("%s", why);
    const struct pickle *t = dict->items[1];
    assert_int_equal(t->type, PICKLE_TUPLE);
    assert_int_equal(t->items[0]->integer, 1);
    assert_int_equal(t->items[1]->integer, -2);
    assert_int_equal(t->items[2]->integer, 70000);
    assert_true(t->items[3]->integer == (int64_t)1 << 40);
    assert_int_equal(dict->items[3]->count, 4);
    assert_int_equal(dict->items[5]->type, PICKLE_NONE);
    assert_int_equal(dict->items[7]->integer, 1);
    assert_string_equal(dict->items[11]->text, "same");
    assert_int_equal(read(BYTES("I-17\n."))->integer, -17);
    assert_true(read(BYTES("\x8a\x01\xff."))->integer == -1);
}

/* os.system in the ways pickles can call it, and every other opcode that makes objects. */
static void test_refuses_what_would_run(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *opcode, *global;
    } cases[] = {
#define CASE(text, opcode, global) { text, sizeof(text) - 1, opcode, global }
        CASE("(dp0\nVa\np1\ncposix\nsystem\np2\n(Vtouch x\np3\ntp4\nRp5\ns.", "GLOBAL", "posix.system"),
        CASE("\x80\x02}q\x00X\x01\x00\x00\x00"
             "aq\x01"
             "cposix\nsystem\nq\x02.",
             "GLOBAL", "posix.system"),
        CASE("\x80\x04}\x94\x8c\x01"
             "a\x94\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94s.",
             "STACK_GLOBAL", "posix.system"),
        CASE("(S'touch x'\nios\nsystem\n.", "INST", "os.system"),
        CASE("(S'x'\ni\x7f\x1b[2J\nx\n.", "INST", "'??[2J.x'"), /* no control character comes through */
        CASE("(S'x'\no.", "OBJ", ""),
        CASE("N)R.", "REDUCE", ""),
        CASE("}}b.", "BUILD", ""),
        CASE("N)\x81.", "NEWOBJ", ""),
        CASE("\x82\x01.", "EXT1", ""),
        CASE("Pname\n.", "PERSID", ""),
        CASE("NQ.", "BINPERSID", ""),
        CASE("\x8f.", "EMPTY_SET", ""),
        CASE("C\x01x.", "SHORT_BINBYTES", ""),
        CASE("G\x00\x00\x00\x00\x00\x00\x00\x00.", "BINFLOAT", ""),
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_null(read((const uint8_t *)cases[i].bytes, cases[i].size));
        if (!strstr(why, cases[i].opcode) || !strstr(why, cases[i].global) || !strstr(why, "f.p: byte "))
            fail_msg("case %zu: %s", i, why);
    }
}

static void test_damage(void **state)
{
    (void)state;
    uint8_t copy[sizeof protocol_4 - 1];
    assert_null(read((const uint8_t *)"", 0));
    assert_non_null(strstr(why, "empty"));
    for (size_t cut = 1; cut < sizeof protocol_4 - 1; cut++) {
        assert_null(read(protocol_4, cut));
        assert_null(read(protocol_2, cut));
    }
    /* Any byte replaced by any other: an answer or a reason, never a crash (run under sanitizers too). */
    for (size_t at = 0; at < sizeof copy; at++)
        for (int value = 0; value < 256; value++) {
            struct arena_mark mark = arena_mark(arena);
            memcpy(copy, protocol_4, sizeof copy);
            copy[at] = (uint8_t)value;
            read(copy, sizeof copy);
            arena_release(arena, mark);
        }
}

static void test_hostile_sizes(void **state)
{
    (void)state;
    size_t before = arena_peak_bytes(arena);
    assert_null(read(BYTES("\x8d\xff\xff\xff\xff\xff\xff\xff\x7f."))); /* a text of 2^63 bytes */
    assert_null(read(BYTES("X\xff\xff\xff\xffx.")));
    assert_null(read(BYTES("Nr\xff\xff\xff\x7f."))); /* memo entry 2^31 */
    assert_null(read(BYTES("Np99999999999\n.")));
    assert_null(read(BYTES("h\x05.")));
    assert_null(read(BYTES("u.")));
    assert_null(read(BYTES("(}u.")));
    assert_null(read(BYTES("]K\x01s.")));
    assert_null(read(BYTES("(K\x01"
                           "d.")));          /* a key without a value */
    assert_null(read(BYTES("K\x01K\x02."))); /* two values */
    assert_null(read(BYTES("a.")));
    assert_null(read(BYTES(".")));
    assert_null(read(BYTES("U\x03"
                           "a\x00"
                           "b."))); /* NUL in a text */
    assert_non_null(read(BYTES("]q\x00h\x00"
                               "a."))); /* a list that holds itself is a list */
    assert_true(arena_peak_bytes(arena) < before + ((size_t)1 << 20));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocols),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refuses_what_would_run),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_hostile_sizes),
    };
    arena = arena_create("test", 1 << 16);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
