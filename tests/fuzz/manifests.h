/* What the targets of manifests share. */
#ifndef FUZZ_MANIFESTS_H
#define FUZZ_MANIFESTS_H

#include "target.h"

/* Reads the manifest of the folder of this process; one that does not hold together is a finding. */
void fuzz_manifest(struct arena *arena, const char *reader, const char *data, const char *group);

#endif
