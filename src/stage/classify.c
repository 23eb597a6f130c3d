#include "stage/stage.h"

int stage_classify(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "classify: being written");
}
