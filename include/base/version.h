/* What this binary is. Kernel and library versions are said by their wrappers. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

const char *version_number(void);   /* "0.1.0" */
const char *version_revision(void); /* git revision at build time, "-dirty" if so */
const char *version_compiler(void); /* compiler and flags */

#endif
