#include "stage/stage.h"

int stage_audit(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "audit: being written");
}
