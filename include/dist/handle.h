/* The one place that hands MPI's communicator to a library (parallel HDF5). Only src/store includes it. */
#ifndef DIST_HANDLE_H
#define DIST_HANDLE_H

#include <mpi.h>

struct world;
MPI_Comm world_handle(const struct world *world);

#endif
