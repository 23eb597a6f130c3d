#include "stage/stage.h"

int stage_explain(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "explain: being written");
}
