/* Findings and impression of reports as MIMIC-CXR has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/reader/sets/mimic/sections.h"
#include "test_arena.h"

static void told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *report, *findings, *impression;
    } cases[] = {
        { "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n FINDINGS: \n \n There "
          "is "
          "no\n edema.\n \n IMPRESSION: \n \n No acute process.\n",
          "There is no edema.", "No acute process." },
        { "IMPRESSION: Edema: mild. HEART SIZE: normal\r\nCOMPARISON:  none", "", "Edema: mild. HEART SIZE: normal" },
        { "FINDINGS:a\nFINDINGS: b\nIMPRESSION:\tc", "b", "c" },
        { " FINDINGS AND IMPRESSION:  clear.\n", "clear.", "" },
        { "FINDINGS:\n first\nADDENDUM:\n x\nFINDINGS:\n second\nCONCLUSION: done\nRECOMMENDATION(S): none", "second",
          "done" },
        { "PROVISIONAL FINDINGS IMPRESSION (PFI): early\n INDICATION: cough\n lungs are clear", "", "" },
        { "the lungs are clear. FINDINGS: not at the beginning of a line", "", "" },
        { "Findings: not in capitals\n12:30 IMPRESSION: no", "", "" },
        { "IMPRESSION:", "", "" },
        { "", "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct report_sections found = report_sections(arena, cases[i].report);
        assert_string_equal(found.findings, cases[i].findings);
        assert_string_equal(found.impression, cases[i].impression);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(told_apart) };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
