#include "stage/stage.h"

int stage_sae(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "sae: being written");
}
