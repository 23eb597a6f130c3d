/* Dense products of bfloat16 operands with single-precision sums and results,
 * by oneDNN's matmul: two to three times as fast as single precision where the
 * processor has instructions for them. The right operand is packed
 * first and serves any number of products. Local; one thread calls.
 *
 * Bits: they depend on the shape a product was made for and on the threads, so
 * rows that are missing from a full shape are passed as zeros. */
#ifndef MATH_HALF_PRODUCT_H
#define MATH_HALF_PRODUCT_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct world;
struct half_products; /* what all products of one owner share */
struct half_product;

/* Has the processor instructions for them (AVX512-BF16, AMX)? Elsewhere products work too, slowly. */
bool half_in_hardware(void);
/* Is it wanted, and can every rank? A note where one cannot. Collective when it is wanted. */
bool half_everywhere(struct world *world, bool wanted);

struct half_products *half_products_create(struct arena *arena);
enum half_source { HALF_OF_FLOATS, HALF_OF_HALVES }; /* what b is packed from */
/* c [m x n] = op(a) op(b), added to c when `add`; a [m x k] bf16, or [k x m] with 'T'; b [k x n], or [n x k] with 'T'.
 */
struct half_product *half_product(struct half_products *all, char transa, char transb, int64_t m, int64_t n, int64_t k,
                                  enum half_source source, bool add, const char *name);
/* After the last half_product: takes the scratch memory they share. */
void half_products_ready(struct half_products *all);
/* Ends what the library holds; memory goes with the arena. NULL is nothing. */
void half_products_destroy(struct half_products *all);

int64_t half_packed_bytes(const struct half_product *product);
/* b: floats or bf16, as the product was made for; rounded to nearest. */
void half_pack(void *packed, struct half_product *product, const void *b);
/* c is [m x n]; a row-major without gaps. 2 m n k flops. */
void half_multiply(float *c, struct half_product *product, const uint16_t *a, const void *packed);

/* out [n] = x [n] rounded to nearest, ties to even; by all threads. */
void half_round(uint16_t *out, const float *x, int64_t n);

#endif
