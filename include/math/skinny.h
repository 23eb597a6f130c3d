/* Products of many rows of floats with a few columns, in double: where dense kernels pack more than they multiply. */
#ifndef MATH_SKINNY_H
#define MATH_SKINNY_H

/* z [rows x C] = (x - mean) w'; x [rows x D], mean [D], w [C x D]. Bits of a row do not depend on the others. Local. */
void skinny_forward(double *z, const float *x, const double *mean, const double *w, int rows, int C, int D);
/* g [C x D] += slope' (x - mean); slope [rows x C], rows added in order. Local. */
void skinny_backward(double *g, const double *slope, const float *x, const double *mean, int rows, int C, int D);

#endif
