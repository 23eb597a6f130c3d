/* Which MPI library this is. Its own file: answers before MPI is started. */
#include <mpi.h>
#include <string.h>

#include "dist/world.h"

const char *world_library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0'; /* "Open MPI v4.1.4", without the builder's name */
    return text;
}
