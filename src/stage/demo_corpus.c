#include "stage/stage.h"

int stage_demo_corpus(struct job *job)
{
    (void)job;
    fatal(EXIT_INTERNAL, "demo_corpus: being written");
}
