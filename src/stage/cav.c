#include "stage/stage.h"

int stage_cav(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "cav: being written");
}
