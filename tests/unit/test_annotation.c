/* R2Gen's annotation.json, and what is not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "image/corpus.h"
#include "image/reader/sets/mimic/annotation.h"
#include "test_arena.h"

static bool read_text(struct annotation *out, const char *text, const char **why)
{
    /* Exactly as many bytes as the text has, so that a sanitizer sees what is read past them. */
    size_t size = strlen(text);
    char *bytes = malloc(size ? size : 1);
    memcpy(bytes, text, size);
    bool fine = annotation_read(arena, out, "annotation.json", bytes, size, why);
    free(bytes);
    return fine;
}

static void entries_in_order(void **state)
{
    (void)state;
    struct annotation found;
    const char *why = "";
    bool fine =
        read_text(&found,
                  "{\"train\": [{\"id\": \"d1\", \"study_id\": 50414267, \"subject_id\": 10000032, \"report\": "
                  "\"caf\\u00e9\\n\", \"image_path\": [\"p10/p10000032/s50414267/d1.jpg\"], \"split\": \"train\"},\n"
                  "{\"id\":\"d2\",\"study_id\":\"s51\",\"subject_id\":\"12\",\"report\":\"\",\"image_path\":"
                  "[\"a.png\",\"b.png\"],\"more\":{\"x\":[1]}}],\"test\":[] , \"val\" : [{\"image_path\":[\"c\"],"
                  "\"report\":\"r\",\"subject_id\":3,\"study_id\":4,\"id\":\"d3\"}]}\n",
                  &why);
    if (!fine)
        fail_msg("%s", why);
    assert_int_equal(found.count, 4);
    assert_string_equal(found.list[0].report, "caf\xc3\xa9\n");
    assert_string_equal(found.list[0].path, "p10/p10000032/s50414267/d1.jpg");
    assert_int_equal(found.list[0].study, 50414267);
    assert_int_equal(found.list[1].study, 51);
    assert_int_equal(found.list[2].subject, 12);
    assert_string_equal(found.list[2].path, "b.png");
    assert_string_equal(found.list[3].id, "d3");
    assert_int_equal(found.list[3].split, SPLIT_VAL);
}

#define ENTRY "{\"id\":\"a\",\"study_id\":1,\"subject_id\":2,\"report\":\"r\",\"image_path\":[\"p\"]}"

static void others_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "", "expected an object" },
        { "[1]", "expected an object" },
        { "{\"images\": []}", "expected the keys train, val and test" },
        { "{3: []}", "expected the keys train, val and test" },
        { "{\"train\": {}}", "expected a list" },
        { "{\"train\": [" ENTRY " " ENTRY "]}", "expected ',' or ']'" },
        { "{\"train\": [" ENTRY "], \"train\": []}", "a split comes twice" },
        { "{\"train\": [" ENTRY "]", "expected ',' or '}'" },
        { "{\"train\": [" ENTRY "]} x", "text after the object" },
        { "{\"train\": [" ENTRY ", 3]}", "entry 1 of \"train\": expected an object" },
        { "{\"val\": [{\"id\":\"a\",\"study_id\":1.5,\"subject_id\":2,\"report\":\"r\",\"image_path\":[\"p\"]}]}",
          "entry 0 of \"val\": expected id, study_id" },
        { "{\"val\": [{\"id\":\"a\",\"study_id\":1,\"subject_id\":2,\"report\":\"r\",\"image_path\":[]}]}",
          "expected a list image_path" },
        { "{\"val\": [{\"id\":\"a\",\"study_id\":1,\"subject_id\":2,\"report\":\"r\",\"image_path\":[5]}]}",
          "expected texts" },
        { "{\"train\": [" ENTRY ",{\"id\":\"a", "premature end" },
        { "{\"train\": [{\"id\":\"\\ud800\"}]}", "annotation.json: byte" },
        { "{\"train\"", "expected ':'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct annotation found;
        const char *why = NULL;
        assert_false(read_text(&found, cases[i].text, &why));
        assert_non_null(why);
        if (!strstr(why, cases[i].part))
            fail_msg("'%s' is not in: %s", cases[i].part, why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(entries_in_order), cmocka_unit_test(others_are_refused) };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
