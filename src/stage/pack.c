#include "stage/stage.h"

int stage_pack(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "pack: being written");
}
