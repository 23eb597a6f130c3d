/* `cfn config [SECTION]`: a commented configuration file from the key table;
 * with --markdown the reference of docs/reference. Needs no MPI. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "config/key.h"
#include "job/job.h"

static const char *find_section(struct arena *arena, const char *name)
{
    size_t count;
    const struct section *sections = config_sections(&count);
    const char **words = arena_array(arena, const char *, count);
    for (size_t s = 0; s < count; s++) {
        words[s] = sections[s].name;
        if (*name && strcmp(sections[s].name, name) == 0)
            return sections[s].name;
    }
    const char *near = text_suggest(name, words + 1, count - 1);
    fatal(EXIT_USAGE, "config: there is no section %.80s%s%s%s", name, near ? " (did you mean " : "", near ? near : "",
          near ? "?)" : "");
}

int stage_config(struct job *job)
{
    const char *section = NULL;
    bool markdown = false;
    for (int a = 0; a < job->argc; a++) {
        if (strcmp(job->argv[a], "--markdown") == 0) {
            markdown = true;
            continue;
        }
        require(!section, EXIT_USAGE, "config: expected one section, found %s after %s", job->argv[a], section);
        section = find_section(job->run, job->argv[a]);
    }
    fputs(markdown ? config_reference(job->run, section) : config_template(job->run, section), stdout);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_IO;
}
