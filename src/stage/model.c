#include "stage/stage.h"

int stage_model(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "model: being written");
}
