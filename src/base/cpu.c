/* The processor by CPUID: features, level, name; and the end of a program that
 * was compiled for another one. Uses the C library alone (see cpu.h). */
#include "base/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/cpu_table.h"
#include "base/error.h"

enum { LINE_BYTES = 2048, LEVELS = 4 };

struct feature {
    const char *name;
    unsigned leaf, subleaf;
    enum cpu_register in;
    int bit;
    unsigned saved; /* bits of XCR0 */
    int level;
};

#define ROW(name, macro, leaf, subleaf, in, bit, saved, level) { #name, leaf, subleaf, in, bit, saved, level },
static const struct feature table[] = { CPU_TABLE(ROW) };
#undef ROW

#if defined(__x86_64__)
/* Registers that the operating system saves (XCR0); 0 where it cannot be asked. */
static unsigned states_saved(void)
{
    unsigned a, b, c, d, low = 0, high = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE)
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has(const struct feature *f, unsigned saved)
{
    unsigned r[4];
    bool asked = __get_cpuid_count(f->leaf, f->subleaf, &r[CPU_EAX], &r[CPU_EBX], &r[CPU_ECX], &r[CPU_EDX]);
    return asked && r[f->in] >> f->bit & 1 && (saved & f->saved) == f->saved;
}

uint64_t cpu_features(void)
{
    uint64_t features = 0;
    const unsigned saved = states_saved();
    for (int i = 0; i < CPU_FEATURES; i++)
        features |= (uint64_t)has(&table[i], saved) << i;
    return features;
}

const char *cpu_name(void)
{
    static char name[3 * 16 + 1];
    for (unsigned part = 0; part < 3; part++) {
        unsigned r[4] = { 0 };
        if (!__get_cpuid(0x80000002 + part, &r[0], &r[1], &r[2], &r[3]))
            return "unknown processor";
        memcpy(name + 16 * part, r, sizeof r);
    }
    const char *start = name + strspn(name, " ");
    for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
        name[n - 1] = '\0';
    return *start ? start : "unknown processor";
}
#else
uint64_t cpu_features(void)
{
    return 0;
}

const char *cpu_name(void)
{
    return "unknown processor";
}
#endif

uint64_t cpu_level_needs(int level)
{
    uint64_t needs = 0;
    for (int i = 0; i < CPU_FEATURES; i++)
        if (table[i].level >= 2 && table[i].level <= level)
            needs |= UINT64_C(1) << i;
    return needs;
}

int cpu_level(uint64_t features)
{
#if defined(__x86_64__)
    int level = LEVELS;
    while (level > 1 && cpu_level_needs(level) & ~features)
        level--;
    return level;
#else
    (void)features;
    return 0;
#endif
}

const char *cpu_level_name(int level)
{
    static const char *const names[LEVELS + 1] = { "another architecture", "x86-64", "x86-64-v2", "x86-64-v3",
                                                   "x86-64-v4" };
    return names[level >= 0 && level <= LEVELS ? level : 0];
}

int cpu_level_of(const char *name)
{
    int level = LEVELS;
    while (level >= 2 && strcmp(name, cpu_level_name(level)) != 0)
        level--;
    return level >= 2 ? level : 0;
}

char *cpu_list(char *out, size_t bytes, uint64_t features)
{
    size_t at = 0;
    *out = '\0';
    for (int i = 0; i < CPU_FEATURES && at < bytes; i++)
        if (features >> i & 1)
            at += (size_t)snprintf(out + at, bytes - at, "%s%s", at ? " " : "", table[i].name);
    return out;
}

/* Whether another rank of this node says the same. */
static bool is_silent(void)
{
    static const char *const places[] = { "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *place = getenv(places[i]);
        if (place)
            return strtol(place, NULL, 10) != 0;
    }
    return false;
}

_Noreturn void cpu_end(int code, const char *message)
{
    if (is_silent()) /* the launcher ends all ranks with the first: let the one that speaks be it */
        nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
    else
        fprintf(stderr, "cfn: %s\n", message);
    fflush(stderr);
    _exit(code);
}

static void host_name(char *out, size_t bytes)
{
    if (gethostname(out, bytes - 1) != 0)
        snprintf(out, bytes, "this host");
}

int cpu_asked(void)
{
    const char *text = getenv("CFN_ISA");
    if (!text || !*text)
        return 0;
    char line[LINE_BYTES], host[256] = "";
    int level = cpu_level_of(text), most = cpu_level(cpu_features());
    host_name(host, sizeof host);
    if (level == 0)
        snprintf(line, sizeof line, "CFN_ISA=%.64s: expected x86-64-v2, x86-64-v3 or x86-64-v4", text);
    else
        snprintf(line, sizeof line, "CFN_ISA=%s: %s (%s) runs %s at most", text, host, cpu_name(),
                 cpu_level_name(most));
    if (level == 0 || level > most)
        cpu_end(EXIT_USAGE, line);
    return level;
}

bool cpu_fits(char *why, size_t bytes, uint64_t needed, uint64_t have, const char *built_for)
{
    char host[256] = "", lacking[1024];
    if (!(needed & ~have))
        return true;
    host_name(host, sizeof host);
    snprintf(why, bytes,
             "built for %s, with instructions that %s (%s) does not have (%s): build with ARCH=%s, or install the "
             "variants (make install VARIANTS=1)",
             built_for, host, cpu_name(), cpu_list(lacking, sizeof lacking, needed & ~have),
             cpu_level_name(cpu_level(have)));
    return false;
}

void cpu_check(uint64_t needed, const char *built_for)
{
    char why[LINE_BYTES];
    if (!cpu_fits(why, sizeof why, needed, cpu_features(), built_for))
        cpu_end(EXIT_USAGE, why);
    cpu_asked();
}

char *cpu_choice(char *out, size_t bytes, const char *built_for)
{
    int level = cpu_level_of(built_for), most = cpu_level(cpu_features()), asked = cpu_asked();
    if (level > 0 && level == asked)
        snprintf(out, bytes, "for %s, as CFN_ISA asks; this processor runs %s", built_for, cpu_level_name(most));
    else if (level > 0 && level == most)
        snprintf(out, bytes, "for %s, the highest level that this processor runs", built_for);
    else
        snprintf(out, bytes, "for %s; this processor runs %s", built_for, cpu_level_name(most));
    return out;
}
