#include "stage/stage.h"

int stage_embed(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "embed: being written");
}
