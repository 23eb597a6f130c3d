/* Configuration: the key table itself, texts to values, and the message for each way a file can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/text.h"
#include "config/draft.h"

static struct arena *arena;

static const struct key *key_of(const char *path)
{
    size_t count;
    int k = key_find(path);
    assert_true(k >= 0);
    return &config_keys(&count)[k];
}

static size_t field_bytes(const struct key *key)
{
    switch (key->type) {
    case KEY_INT:
    case KEY_CHOICE:
        return sizeof(int);
    case KEY_LONG:
        return sizeof(int64_t);
    case KEY_REAL:
        return sizeof(double);
    case KEY_BOOL:
        return sizeof(bool);
    default:
        return sizeof(char *);
    }
}

/* Every row: unique path, a known section, a default that it accepts, a sentence of documentation, a field of its own.
 */
static void test_table(void **state)
{
    (void)state;
    size_t count, sections_count;
    const struct key *keys = config_keys(&count);
    const struct section *sections = config_sections(&sections_count);
    for (size_t k = 0; k < count; k++) {
        assert_int_equal(key_find(keys[k].path), k);
        int in = 0;
        for (size_t s = 0; s < sections_count; s++)
            in += key_in(&keys[k], sections[s].name);
        assert_int_equal(in, 1);
        assert_non_null(key_parse(arena, &keys[k], keys[k].fallback, NULL));
        assert_true(text_ends(keys[k].doc, "."));
        assert_true(keys[k].offset + field_bytes(&keys[k]) <= offsetof(struct config, values));
        for (size_t other = 0; other < k; other++)
            assert_true(keys[other].offset + field_bytes(&keys[other]) <= keys[k].offset ||
                        keys[k].offset + field_bytes(&keys[k]) <= keys[other].offset);
    }
}

/* No field of the structs is without a key: their bytes are all covered but for padding. */
static void test_table_covers_structs(void **state)
{
    (void)state;
    size_t count, bytes = 0;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++)
        bytes += field_bytes(&keys[k]);
    size_t sections_count;
    config_sections(&sections_count);
    /* Padding: less than 8 bytes at each change from a small to a large field; no more than 3 of them in a section. */
    assert_true(offsetof(struct config, values) - bytes < sections_count * 3 * 8);
    assert_true(offsetof(struct config, values) >= bytes);
}

/* Each word of a choice becomes its place in the table and comes back from it; any other word is refused. */
static void test_choices(void **state)
{
    (void)state;
    size_t count, choices = 0;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++) {
        if (keys[k].type != KEY_CHOICE)
            continue;
        choices++;
        struct config c = { 0 };
        const int *field = (const int *)((const char *)&c + keys[k].offset);
        int words = 0;
        for (int v = 0; v < KEY_CHOICES; v++) {
            if (!keys[k].choices[v])
                continue;
            words++;
            assert_string_equal(key_parse(arena, &keys[k], keys[k].choices[v], &c), keys[k].choices[v]);
            assert_int_equal(*field, v);
            assert_string_equal(config_choice(keys[k].path, v), keys[k].choices[v]);
        }
        assert_true(words >= 2);
        assert_null(key_parse(arena, &keys[k], "none of these", &c));
        assert_null(key_parse(arena, &keys[k], "", &c));
    }
    assert_true(choices >= 30);
    struct config c = { 0 };
    key_parse(arena, key_of("train.blank"), "ignore", &c); /* a choice that leaves a value of its enum out */
    assert_int_equal(c.train.blank, POLICY_IGNORE);
    key_parse(arena, key_of("sae.variant"), "matryoshka", &c);
    assert_int_equal(c.sae.variant, VARIANT_MATRYOSHKA);
    key_parse(arena, key_of("log_level"), "verbose", &c);
    assert_int_equal(c.run.log_level, LOG_VERBOSE);
}

static void test_values(void **state)
{
    (void)state;
    struct config c = { 0 };
    assert_string_equal(key_parse(arena, key_of("train.lr"), "1e-3", &c), "0.001");
    assert_true(c.train.lr == 1e-3);
    assert_string_equal(key_parse(arena, key_of("train.epochs"), "+12", &c), "12");
    assert_int_equal(c.train.epochs, 12);
    assert_string_equal(key_parse(arena, key_of("seed"), "123456789012", &c), "123456789012");
    assert_true(c.run.seed == 123456789012);
    assert_string_equal(key_parse(arena, key_of("decompose.intercept"), "No", &c), "false");
    assert_false(c.decompose.intercept);
    assert_string_equal(key_parse(arena, key_of("data"), "my-data_2.1", &c), "my-data_2.1");
    assert_string_equal(c.run.data, "my-data_2.1");
    static const char *const wrong[][2] = {
        { "train.lr", "0" },
        { "train.lr", "nan" },
        { "train.lr", "inf" },
        { "train.lr", "1e999" },
        { "train.lr", "1,5" },
        { "train.lr", "" },
        { "train.lr", "0x1p-3" },
        { "train.lr", " 1" },
        { "train.epochs", "1.0" },
        { "train.epochs", "-1" },
        { "train.epochs", "1e2" },
        { "train.epochs", "99999999999999999999" },
        { "train.epochs", "12 " },
        { "train.shards", "6" },
        { "train.shards", "-2" },
        { "decompose.intercept", "2" },
        { "data", "../x" },
        { "data", "" },
        { "data", ".hidden" },
        { "data", "a b" },
        { "train.precision", "FP32" },
        { "cav.holdout", "0" },
        { "cav.holdout", "0.91" },
        { "pack.val_fraction", "1" },
        { "root", "a\nb" },
        { "classify.search", "" },
    };
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++)
        if (key_parse(arena, key_of(wrong[w][0]), wrong[w][1], NULL))
            fail_msg("%s accepts \"%s\"", wrong[w][0], wrong[w][1]);
}

/* The shortest text that reads back the same, for doubles of all sizes. */
static void test_reals_round_trip(void **state)
{
    (void)state;
    const struct rng rng = { 1, RNG_TEST, 0 };
    struct config c = { 0 };
    for (uint64_t row = 0; row < 2000; row++) {
        double x = rng_uniform(&rng, row, 0) * (double)(1ULL << (row % 60)) / (double)(1ULL << 30) + 1e-12;
        const char *text = key_parse(arena, key_of("sae.l1"), arena_printf(arena, "%.17g", x), &c);
        assert_true(c.sae.l1 == x);
        assert_true(strtod(text, NULL) == x);
    }
}

static void test_expected(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "train.lr", "a number > 0" },
        { "train.weight_decay", "a number >= 0" },
        { "train.epochs", "an integer from 0 to 100000" },
        { "train.shards", "a power of two from 1 to 1024" },
        { "train.reduction", "one of exact, fast" },
        { "cav.holdout", "a number > 0 and <= 0.9" },
        { "pack.val_fraction", "a number >= 0 and < 1" },
        { "decompose.intercept", "true or false" },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        assert_string_equal(key_expected(arena, key_of(cases[c][0])), cases[c][1]);
}

static const char *error_of(const char *yaml, size_t length)
{
    struct draft draft = draft_start(arena);
    draft_read_yaml(&draft, "f.yml", yaml, length);
    return draft.error;
}

static void test_messages(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "train:\n  lr: fast\n", "f.yml:2:7: train.lr: expected a number > 0, found \"fast\"" },
        { "train:\n  lr: -1\n", "f.yml:2:7: train.lr: expected a number > 0, found \"-1\"" },
        { "train:\n  lr:\n", "f.yml:2:6: train.lr: expected a number > 0, found nothing" },
        { "train:\n  lr: [1]\n", "f.yml:2:7: train.lr: expected a number > 0, found a list" },
        { "train:\n  lr:\n    x: 1\n", "f.yml:3:5: train.lr: expected a number > 0, found keys below it" },
        { "train:\n  reduction: exat\n",
          "f.yml:2:14: train.reduction: expected one of exact, fast, found \"exat\" (did you mean exact?)" },
        { "train:\n  lrr: 1\n", "f.yml:2:3: train.lrr: unknown key (did you mean train.lr?)" },
        { "tran:\n  lr: 1\n", "f.yml:1:1: tran: unknown key (did you mean train?)" },
        { "num_concept: 5\n", "f.yml:1:1: num_concept: unknown key (did you mean select.count?)" },
        { "expansion: 5\n", "f.yml:1:1: expansion: unknown key (did you mean sae.expansion?)" },
        { "train:\n  data: ham\n", "f.yml:2:3: train.data: unknown key (did you mean data?)" },
        { "train.lr: 1\n", "f.yml:1:1: train.lr: unknown key here: write `lr:` below `train:`" },
        { "data: a\nroot: b\ndata: c\n", "f.yml:3:1: data: given twice, first at line 1" },
        { "sae:\n  l1: 1\nsae:\n  lr: 1\n", "f.yml:3:1: section sae: given twice, first at line 1" },
        { "sae: 5\n", "f.yml:1:6: sae: expected the keys of this section below it, found a value" },
        { "sae: [5]\n", "f.yml:1:6: sae: expected the keys of this section below it, found a list" },
        { "- data\n", "f.yml:1:1: expected lines of `key: value`" },
        { "data\n", "f.yml:1:1: expected lines of `key: value`" },
        { "data: ham\n---\ndata: b\n", "f.yml:2:1: a second document; a configuration is one" },
        { "data: &x ham\n", "f.yml:1:7: anchors and aliases (& and *) are not used here; write the value out" },
        { "data: *x\n", "f.yml:1:7: anchors and aliases (& and *) are not used here; write the value out" },
        { "data: !!str ham\n", "f.yml:1:7: tags (!) are not used here; write the plain value" },
        { "? [a]\n: b\n", "f.yml:1:3: expected `key: value`" },
        { "data: 'ham\n", "f.yml:2:1: not valid YAML: found unexpected end of stream while scanning a quoted scalar" },
        { "data: \"a\\0b\"\n",
          "f.yml:1:7: data: expected a name of letters, digits, '-', '_' and '.', found a zero byte" },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *error = error_of(cases[c][0], strlen(cases[c][0]));
        assert_non_null(error);
        assert_string_equal(arena_printf(arena, "%.*s", (int)strcspn(error, "\n"), error), cases[c][1]);
    }
}

static void test_accepts(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "# nothing\n",
        "---\n",
        "train:\n",
        "train: ~\n",
        "data: ham # comment\n",
        "{data: ham, train: {lr: 1}}\n",
        "stop_file: ~\n",
        "stop_file: null\n",
        "stop_file: \"\"\n",
        "\"data\": 'ham'\n",
        "data: ham\r\ntrial: 2\r\n",
        ("\xef\xbb\xbf"
         "data: ham\n"),
        "root: /a/b c/\xc3\xa4\n",
        "data: ham\n...\n",
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const char *error = error_of(cases[c], strlen(cases[c]));
        if (error)
            fail_msg("case %zu: %s", c, error);
    }
}

static void test_long_line(void **state)
{
    (void)state;
    char *text = arena_array(arena, char, 1000001);
    memset(text, 'a', 1000000);
    assert_string_equal(error_of(text, 1000000), "f.yml:1:1: a line of 1000000 characters, 8192 at most");
    memset(text, '\n', 3);
    assert_string_equal(error_of(text, 1000000), "f.yml:4:1: a line of 999997 characters, 8192 at most");
}

/* The template is a configuration, and says the defaults. */
static void test_template(void **state)
{
    (void)state;
    size_t count;
    config_keys(&count);
    char *text = config_template(arena, NULL);
    struct draft draft = draft_start(arena), defaults = draft_start(arena);
    draft_read_yaml(&draft, "template", text, strlen(text));
    assert_null(draft.error);
    for (size_t k = 0; k < count; k++) {
        assert_string_equal(draft.values[k].text, defaults.values[k].text);
        assert_string_not_equal(draft.values[k].origin, "default");
    }
    char *part = config_template(arena, "sae");
    assert_true(text_starts(part, "# The sparse autoencoder"));
    assert_null(strstr(part, "train:"));
}

static void fill(struct config *config, struct draft *draft)
{
    size_t count;
    const struct key *keys = config_keys(&count);
    for (size_t k = 0; k < count; k++)
        assert_non_null(key_parse(arena, &keys[k], draft->values[k].text, config));
    config->values = draft->values;
}

/* used.yml read back gives every value again, awkward texts too. */
static void test_used_round_trip(void **state)
{
    (void)state;
    static const char yaml[] = "root: \"/a \\\"quoted\\\" b/#x: y\\\\z\"\nstop_file: '~'\ntrial: 7\n"
                               "train: {lr: 0.1, weights: 'null', shards: 8}\nsae: {l1: 1e-7}\n";
    struct draft first = draft_start(arena), second = draft_start(arena);
    draft_read_yaml(&first, "f.yml", yaml, sizeof yaml - 1);
    assert_null(first.error);
    struct config config = { 0 };
    fill(&config, &first);
    assert_string_equal(config.run.stop_file, "~");
    char *used = config_used(arena, &config);
    assert_non_null(strstr(used, "  lr: 0.1  # f.yml:4\n"));
    assert_non_null(strstr(used, "  expansion: 8  # default\n"));
    draft_read_yaml(&second, "used.yml", used, strlen(used));
    assert_null(second.error);
    size_t count;
    config_keys(&count);
    for (size_t k = 0; k < count; k++)
        assert_string_equal(first.values[k].text, second.values[k].text);
    assert_string_equal(config_value(arena, &config, "train.lr"), "0.1");
    assert_null(config_value(arena, &config, "train.nothing"));
    assert_string_equal(config_section_text(arena, &config, "embed"), "embed.batch=16\nembed.precision=fp32\n");
    /* Keys that do not change what is computed are left out. */
    assert_null(strstr(config_section_text(arena, &config, ""), "checkpoint_minutes"));
    assert_null(strstr(config_section_text(arena, &config, ""), "threads"));
}

static void test_flags(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "--data", "data" },           { "--backbone", "backbone" },     { "--trial", "trial" },
        { "--root", "root" },           { "--epoch", "train.epochs" },    { "--num_concept", "select.count" },
        { "--save_dir", "result_dir" }, { "--result_dir", "result_dir" }, { "--ckpt_dir", "result_dir" },
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        assert_string_equal(config_flag_key(cases[c][0]), cases[c][1]);
    assert_null(config_flag_key("--ckpt"));
    assert_null(config_flag_key("--save"));
    assert_string_equal(key_variable(arena, key_of("sae.resample_every")), "CFN_SAE_RESAMPLE_EVERY");
}

/* Damaged files never crash the reader: bytes of the template replaced, removed and doubled. */
static void test_damaged(void **state)
{
    (void)state;
    static const char bytes[] = "\0\n\t :-#&*!|>'\"%@`{}[],?\\\xff\xc3~0aA";
    const struct rng rng = { 2, RNG_TEST, 0 };
    char *text = config_template(arena, NULL);
    size_t length = strlen(text);
    char *damaged = arena_array(arena, char, length + 1);
    struct arena_mark mark = arena_mark(arena);
    int refused = 0;
    for (uint64_t row = 0; row < 3000; row++) {
        memcpy(damaged, text, length + 1);
        for (uint64_t d = 0; d < 1 + row % 4; d++)
            damaged[rng_below(&rng, row, 2 * d, length)] = bytes[rng_below(&rng, row, 2 * d + 1, sizeof bytes - 1)];
        size_t cut = row % 3 ? length : (size_t)rng_below(&rng, row, 99, length);
        refused += error_of(damaged, cut) != NULL;
        arena_release(arena, mark);
    }
    assert_true(refused > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_covers_structs),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_reals_round_trip),
        cmocka_unit_test(test_expected),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_used_round_trip),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_damaged),
    };
    arena = arena_create("test", (size_t)1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_destroy(arena);
    return failed;
}
