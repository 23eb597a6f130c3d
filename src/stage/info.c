#include "stage/stage.h"

int stage_info(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "info: being written");
}
