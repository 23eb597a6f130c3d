/* Sections of a radiology report. */
#ifndef IMAGE_READER_SETS_SECTIONS_H
#define IMAGE_READER_SETS_SECTIONS_H

struct arena;

struct report_sections {
    const char *findings, *impression; /* "" where the report has no such section */
};

/* Findings and impression of a report, told apart by headings in capitals that begin a line and end with a colon
 * ("FINDINGS:", "IMPRESSION:", "FINDINGS AND IMPRESSION:", which counts as findings). Of several sections of one kind
 * the last is taken, as MIMIC-CXR's own parser does: an addendum replaces what it amends. White space inside a section
 * becomes single blanks. Owned by the arena. Local. */
struct report_sections report_sections(struct arena *arena, const char *report);

#endif
