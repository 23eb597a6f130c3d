#include "stage/stage.h"

int stage_name(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "name: being written");
}
