/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <argp.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OPT_FILTER = 256,
    OPT_LIST,
    OPT_JSON,
    OPT_THREADS,
    OPT_QUICK,
    OPT_SECONDS,
    OPT_COST,
    OPT_CLOCK
};

static const struct argp_option options[] = {
    {.name = "filter",
     .key = OPT_FILTER,
     .arg = "REGEX",
     .doc = "only rows whose name matches (extended; see --list)"},
    {.name = "list", .key = OPT_LIST, .doc = "print the names of the rows and run nothing"},
    {.name = "quick", .key = OPT_QUICK, .doc = "fewer rows and fewer runs"},
    {.name = "seconds",
     .key = OPT_SECONDS,
     .arg = "TIME",
     .doc = "for the runs of each row (default: 0.12, quick 0.025)"},
    {.name = "threads",
     .key = OPT_THREADS,
     .arg = "COUNT",
     .doc = "what \"all threads\" means (default: all there are)"},
    {.name = "json", .key = OPT_JSON, .arg = "FILE", .doc = "results (default: build/bench.json)"},
    {.name = "cost",
     .key = OPT_COST,
     .arg = "FILE",
     .doc = "measure the figures of the cost model too; FILE is for the compiler's --cost, or "
            "passes/cost.def itself"},
    {.name = "clock",
     .key = OPT_CLOCK,
     .arg = "KIND",
     .doc = "wall (default), or cpu: rows of one thread do not count what other programs take"},
    {0},
};

struct choice {
    struct bench *b;
    const char *json, *cost;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct choice *c = state->input;
    char *end;
    switch (key) {
    case OPT_FILTER:
        c->b->filter = arg;
        return 0;
    case OPT_LIST:
        c->b->list = true;
        return 0;
    case OPT_QUICK:
        c->b->quick = true;
        return 0;
    case OPT_JSON:
        c->json = arg;
        return 0;
    case OPT_COST:
        c->cost = arg;
        return 0;
    case OPT_THREADS:
        c->b->threads = (int)strtol(arg, &end, 10);
        if (*end != '\0' || end == arg || c->b->threads < 1 || c->b->threads > 1024) {
            argp_error(state, "--threads must be a whole number from 1 to 1024, not '%s'", arg);
        }
        return 0;
    case OPT_SECONDS:
        c->b->seconds = strtod(arg, &end);
        if (*end != '\0' || end == arg || !(c->b->seconds > 0) || !(c->b->seconds < 1e4)) {
            argp_error(state, "--seconds must be a positive number, not '%s'", arg);
        }
        return 0;
    case OPT_CLOCK:
        c->b->cpu_clock = strcmp(arg, "cpu") == 0;
        if (!c->b->cpu_clock && strcmp(arg, "wall") != 0) {
            argp_error(state, "--clock must be wall or cpu, not '%s'", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s' is not an option", arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Other programs that run show in every figure. */
static void print_load(const struct bench *b)
{
    double load;
    if (getloadavg(&load, 1) == 1) {
        printf("load before the start: %.2f%s\n", load,
               load > 0.3 ? "; figures are only good on an idle machine" : "");
    }
    printf("clock: %s\n", b->cpu_clock ? "cpu" : "wall");
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        options,
        parse,
        NULL,
        "Times of Weft's runtime. A floor is what the arithmetic or the bytes of an operation need "
        "at "
        "the rates measured on this machine; ratio is median to floor.",
        NULL,
        NULL,
        NULL};
    struct bench b = {.threads = sys_threads()};
    struct choice c = {&b, "build/bench.json", NULL};
    regex_t pattern;
    argp_err_exit_status = 1;
    argp_parse(&parser, argc, argv, 0, NULL, &c);
    if (b.filter != NULL) {
        int error = regcomp(&pattern, b.filter, REG_EXTENDED | REG_NOSUB);
        if (error != 0) {
            char text[200];
            regerror(error, &pattern, text, sizeof text);
            bench_die("--filter '%s': %s", b.filter, text);
        }
        b.pattern = &pattern;
    }
    /* keys and data files in memory: the disk is not what is measured */
    if (access("/dev/shm", W_OK) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    if (!b.list) {
        print_load(&b);
    }
    bench_kernels(&b);
    bench_rings(&b);
    bench_programs(&b);
    bench_boots(&b);
    bool ok = b.list || b.num_rows == 0 || bench_write_json(&b, c.json);
    if (c.cost != NULL && !b.list) {
        ok = bench_cost(&b, c.cost) && ok;
    }
    if (b.num_rows == 0 && c.cost == NULL && !b.list) {
        bench_die("no row matches '%s'", b.filter);
    }
    if (b.pattern != NULL) {
        regfree(&pattern);
    }
    free(b.rows);
    return ok ? 0 : 1;
}
