/* A test program that starts itself as a job and reads what the job says. */
#ifndef TESTS_OWN_JOB_H
#define TESTS_OWN_JOB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/wait.h>

static const char *self;   /* argv[0], set by main */
static char said[1 << 15]; /* both outputs of the last job */

/* Runs "<launch> <this program> <job>"; fills `said`, returns the exit code. */
static int run_job(const char *launch, const char *job)
{
    char command[8192];
    snprintf(command, sizeof command, "%s '%s' %s 2>&1 </dev/null", launch, self, job);
    fflush(NULL);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(said, 1, sizeof said - 1, pipe);
    said[length] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#endif
