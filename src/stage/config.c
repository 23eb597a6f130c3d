#include "stage/stage.h"

int stage_config(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "config: being written");
}
