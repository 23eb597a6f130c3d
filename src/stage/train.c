#include "stage/stage.h"

int stage_train(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "train: being written");
}
