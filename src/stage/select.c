#include "stage/stage.h"

int stage_select(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "select: being written");
}
