/* SPDX-License-Identifier: Apache-2.0 */
/* weft opt: passes from text to text. */
#include "compiler.h"

#include <string.h>

#include "passes.h"

static int list_passes(void)
{
    for (uint32_t i = 0; i < num_passes; i++) {
        printf("%-16s %-4s -> %-4s  %s\n", pass_info[i].name, stage_name(pass_info[i].from),
               stage_name(pass_info[i].to), pass_info[i].text);
    }
    return 0;
}

static uint32_t pass_or(struct arena *a, const char *name, size_t len, uint32_t otherwise)
{
    return len ? driver_pass(arena_strndup(a, name, len)) : otherwise;
}

/* Runs what --passes asks for; *last is the last pass that ran, if any did. */
static struct prog *run_list(struct driver *d, struct prog *p, uint32_t next, uint32_t *last)
{
    const char *list = d->cli->passes ? d->cli->passes : "all", *range = strstr(list, "..");
    if (range || strcmp(list, "all") == 0) {
        uint32_t first = range ? pass_or(d->a, list, (size_t)(range - list), next) : next;
        uint32_t end =
            range ? pass_or(d->a, range + 2, strlen(range + 2), num_passes - 1) : num_passes - 1;
        if (first > end && range) {
            diag_fatal(NO_LOC, "--passes=%s: the first pass comes after the last", list);
        }
        *last = end;
        return driver_run(d, p, first, end);
    }
    while (*list && strcmp(list, "none") != 0) {
        size_t len = strcspn(list, ",");
        uint32_t pass = driver_pass(arena_strndup(d->a, list, len));
        p = driver_run(d, p, pass, pass);
        *last = pass;
        list += len + (list[len] == ',');
    }
    return p;
}

int cmd_opt(const struct cli *c)
{
    if (c->list_passes) {
        return list_passes();
    }
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    uint32_t next;
    struct prog *p = driver_load(&d, &next);
    uint32_t last = next == 0 ? NONE : next - 1;
    p = run_list(&d, p, next, &last);
    struct str text;
    str_init(&text, a);
    driver_print(p, last, &text);
    file_write(c->output ? c->output : "-", text.s, text.len);
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
