#include "stage/stage.h"

int stage_run(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "run: being written");
}
