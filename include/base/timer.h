/* Clocks. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stddef.h>

double timer_seconds(void);                 /* monotonic */
void timer_utc(char *out, size_t out_size); /* "2026-11-22T20:55:24Z" */

#endif
