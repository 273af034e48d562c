/* SPDX-License-Identifier: Apache-2.0 */
#include "front_kit.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static jmp_buf leave;
static volatile bool was_bug;

static void caught(bool bug)
{
    was_bug = bug;
    longjmp(leave, 1);
}

bool front_catch(struct arena *a, void (*f)(struct arena *a, void *ctx), void *ctx, bool *bug,
                 const char **said)
{
    static char *buffer; /* static: not clobbered by longjmp */
    static size_t len;
    static FILE *stream;
    static bool ended;
    stream = open_memstream(&buffer, &len);
    if (!stream) {
        abort();
    }
    diag_reset();
    diag_set_stream(stream);
    diag_set_handler(caught);
    was_bug = false;
    ended = true;
    if (setjmp(leave) == 0) {
        f(a, ctx);
        ended = false;
    }
    diag_set_handler(NULL);
    diag_set_stream(stderr);
    fclose(stream);
    *said = arena_strndup(a, buffer, len);
    *bug = was_bug;
    free(buffer);
    return ended;
}

struct job {
    const char *path, *text;
    size_t len;
    struct prog *p;
    struct yaml *y;
};

static void run_model(struct arena *a, void *ctx)
{
    struct job *j = ctx;
    j->p = model_parse(a, j->path, j->text, j->len);
}

static void run_yaml(struct arena *a, void *ctx)
{
    struct job *j = ctx;
    j->y = yaml_parse(a, j->path, j->text, j->len);
}

static void no_bug(bool bug, const char *said)
{
    if (bug) {
        fprintf(stderr, "the compiler blames itself: %s\n", said);
        abort();
    }
}

struct prog *front_model(struct arena *a, const char *folder, const char *text, const char **said)
{
    struct job j = {
        .path = arena_printf(a, "%stest.yaml", folder), .text = text, .len = strlen(text)};
    bool bug;
    bool ended = front_catch(a, run_model, &j, &bug, said);
    no_bug(bug, *said);
    return ended ? NULL : j.p;
}

struct yaml *front_yaml(struct arena *a, const char *text, const char **said)
{
    struct job j = {.path = "test.yaml", .text = text, .len = strlen(text)};
    bool bug;
    bool ended = front_catch(a, run_yaml, &j, &bug, said);
    no_bug(bug, *said);
    return ended ? NULL : j.y;
}

/* ---- weights -------------------------------------------------------------------------------- */

static char folder[64], path[192];

static void clean_up(void)
{
    unlink(path);
    rmdir(folder);
}

const char *front_weights(const char *file, const struct front_tensor *t, uint32_t num)
{
    static char with_slash[66];
    char header[4096] = "{";
    uint64_t offset = 0;
    for (uint32_t i = 0; i < num; i++) {
        char dims[64] = "";
        uint64_t elements = 1;
        for (uint32_t k = 0; k < t[i].rank; k++) {
            size_t used = strlen(dims);
            snprintf(dims + used, sizeof dims - used, "%s%u", k ? "," : "", t[i].dims[k]);
            elements *= t[i].dims[k];
        }
        size_t used = strlen(header);
        snprintf(header + used, sizeof header - used,
                 "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
                 i ? "," : "", t[i].name, dims, (unsigned long long)offset,
                 (unsigned long long)(offset + 4 * elements));
        offset += 4 * elements;
    }
    strcat(header, "}");
    while (strlen(header) % 8) {
        strcat(header, " ");
    }
    snprintf(folder, sizeof folder, "/tmp/weft-front-XXXXXX");
    if (!mkdtemp(folder)) {
        abort();
    }
    snprintf(with_slash, sizeof with_slash, "%s/", folder);
    snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "wb");
    uint64_t len = strlen(header);
    if (!f || atexit(clean_up) != 0) {
        abort();
    }
    fwrite(&len, sizeof len, 1, f);
    fwrite(header, 1, len, f);
    for (uint64_t i = 0; i < offset / 4; i++) {
        float v = (float)(i + 1) / 8;
        fwrite(&v, sizeof v, 1, f);
    }
    fclose(f);
    return with_slash;
}
