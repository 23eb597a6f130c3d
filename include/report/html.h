/* HTML text for one offline page: no scripts, no fonts, no links outside; everything from outside is escaped. */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Start and end of a page; `css` is ours and goes in as it is. */
void html_begin(struct text *out, const char *title, const char *css);
void html_end(struct text *out);

/* printf whose %s arguments are escaped (& < > " ' become entities, control characters a blank, bytes that are not
 * UTF-8 U+FFFD); the format is ours and goes in as it is. Knows %s %d %ld %lld %zu %c %g %f %%, with flags, width
 * and precision (numbers only). */
void html_add(struct text *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void html_escape(struct text *out, const char *value);

/* data:image/png;base64,... for an src or href. */
void html_data_png(struct text *out, const uint8_t *png, size_t length);
void html_base64(struct text *out, const uint8_t *bytes, size_t length);

/* A picture kept once on the page and shown many times: html_define inside <svg class="defs"><defs>...</defs></svg>,
 * html_use anywhere below. `id` is ours; `alt` is escaped. */
void html_define(struct text *out, const char *id, const uint8_t *png, size_t length, int width, int height);
void html_use(struct text *out, const char *id, const char *css_class, const char *alt, int width, int height);

#endif
