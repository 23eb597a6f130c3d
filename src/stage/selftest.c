#include "stage/stage.h"

int stage_selftest(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "selftest: being written");
}
