/* One-to-one matching: which column each row gets, so that the sum of what is matched is largest. */
#ifndef MATH_ASSIGN_H
#define MATH_ASSIGN_H

#include <stdint.h>

struct arena;

/* Exact, by shortest augmenting paths with dual prices in double (Jonker and Volgenant 1987), after greedy matching of
 * columns to rows at their own best price; the lowest column first among equals, so the answer is always the same one.
 *   column_of [n]      out, a permutation
 *   value     [n x n]  row-major, finite
 * Returns the mean of the matched values. At worst n^3 steps; usually a small multiple of n^2. Scratch: 50 n bytes,
 * given back; in a plan (base/arena.h) that is all. Local. */
double assign_rows(int32_t *column_of, struct arena *scratch, const float *value, int32_t n);

#endif
