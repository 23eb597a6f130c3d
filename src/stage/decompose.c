#include "stage/stage.h"

int stage_decompose(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "decompose: being written");
}
