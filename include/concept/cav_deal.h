/* In which order neurons are worked on, so that ranks with equal blocks of them have equal work. */
#ifndef CONCEPT_CAV_DEAL_H
#define CONCEPT_CAV_DEAL_H

#include <stdint.h>

struct arena;

/* Reorders neurons [count] (ascending) in place: sorted by cost [count], ties by number, then taken in bit-reversed
 * order (van der Corput's sequence), so that every stretch of the list is an even sample of the costs. Depends on
 * nothing else: the same at any rank count. Scratch from the arena. Local. */
void cav_deal(int32_t *neurons, const double *cost, int64_t count, struct arena *scratch);

#endif
