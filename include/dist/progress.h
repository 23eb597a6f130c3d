/* Progress: rank 0 speaks, a live bar on a terminal, otherwise one line per interval. */
#ifndef DIST_PROGRESS_H
#define DIST_PROGRESS_H

/* "train epoch 3/90 step 1200/5004 loss 2.314 1840 img/s eta 01:12:40".
 * `done` and `total` in `unit`s ("img", "row", "pick") for rate and ETA; `detail` is free text. Cheap; any rank may
 * call, rank 0 prints. */
void progress(const char *stage, const char *detail, double done, double total, const char *unit);
void progress_end(void);                    /* clears the bar */
void progress_set_interval(double seconds); /* of log lines; default 10 */

#endif
