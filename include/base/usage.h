/* What this process has used of the machine. */
#ifndef BASE_USAGE_H
#define BASE_USAGE_H

#include <stdint.h>

double usage_bytes(void);        /* resident now; 0 where it is not known */
double usage_peak_bytes(void);   /* largest resident set so far, or since usage_peak_reset; 0 where it is not known */
void usage_peak_reset(void);     /* where the kernel allows it */
int64_t usage_page_faults(void); /* that needed no disk: fresh pages */

#endif
