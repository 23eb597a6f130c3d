/* Both precisions of the pursuit's search (concept/pursuit/pursuit_search.h). In double the
 * limits are scikit-learn's. In single they lie above the rounding of a search
 * of some hundred picks: 2e-6 of the first correlation, 1e-6 of an atom's length. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "concept/pursuit/pursuit_parts.h"

#define REAL              double
#define NAME(x)           x##_f64
#define GRAM              gram
#define ALPHA             alpha
#define SEARCH            pursuit_search_f64
#define REAL_ABS          fabs
#define SMALLEST          0.0
#define DEPENDENT(length) ((void)(length), DBL_EPSILON)
#include "concept/pursuit/pursuit_search.h"
#undef REAL
#undef NAME
#undef GRAM
#undef ALPHA
#undef SEARCH
#undef REAL_ABS
#undef SMALLEST
#undef DEPENDENT

#define REAL              float
#define NAME(x)           x##_f32
#define GRAM              gram32
#define ALPHA             alpha32
#define SEARCH            pursuit_search_f32
#define REAL_ABS          fabsf
#define SMALLEST          2e-6
#define DEPENDENT(length) (1e-6 * (length))
#include "concept/pursuit/pursuit_search.h"
