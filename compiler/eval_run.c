/* SPDX-License-Identifier: Apache-2.0 */
/* Encrypted images: the program's own `run`, which makes keys once and writes a line for each image. */
#include "eval.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct child {
    pid_t pid;
    FILE *out; /* its standard output */
};

static struct child start(const char *const *argv)
{
    struct child c = {0};
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (pipe(ends) != 0) {
        diag_fatal(NO_LOC, "cannot make a pipe: %s", strerror(errno));
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    fflush(NULL);
    int rc = posix_spawn(&c.pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (rc != 0) {
        diag_fatal(NO_LOC, "cannot run '%s': %s", argv[0], strerror(rc));
    }
    c.out = fdopen(ends[0], "r");
    if (!c.out) {
        diag_fatal(NO_LOC, "cannot read from '%s': %s", argv[0], strerror(errno));
    }
    return c;
}

/* False when it failed; it has then said why itself. */
static bool finish(struct child *c, bool stop)
{
    int status;
    fclose(c->out);
    if (stop) {
        kill(c->pid, SIGTERM);
    }
    while (waitpid(c->pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- the program ---------------------------------------------------------------------------- */

/* posix_spawn() does not search for a name without a slash, and should not. */
static const char *program_path(struct arena *a, const char *name)
{
    return strchr(name, '/') ? name : arena_printf(a, "./%s", name);
}

void eval_check_program(struct eval *e)
{
    const char *path = program_path(e->a, e->cli->program);
    const char *argv[] = {path, "info", "--json", NULL};
    char hash[17];
    if (access(path, X_OK) != 0) {
        diag_fatal(NO_LOC, "--program: cannot run '%s': %s", e->cli->program, strerror(errno));
    }
    struct child c = start(argv);
    json_t *info = json_loadf(c.out, 0, NULL);
    bool good = finish(&c, false) && info;
    const char *found = json_string_value(json_object_get(info, "model_hash"));
    if (!good || !found) {
        diag_fatal(NO_LOC, "--program: '%s' is no program that weft built", e->cli->program);
    }
    snprintf(hash, sizeof hash, "%016" PRIx64, e->p->model.hash);
    if (strcmp(found, hash) != 0) {
        diag_fatal(NO_LOC, "--program: '%s' was built from another model", e->cli->program);
    }
    json_decref(info);
}

static char folder[PATH_MAX]; /* "" when there is none */

static void remove_folder(void)
{
    static const char *const suffix[] = {"", "-client", "-server", ".dat"};
    for (size_t i = 0; folder[0] && i < sizeof suffix / sizeof *suffix; i++) {
        char path[PATH_MAX + 32];
        snprintf(path, sizeof path, "%s/program%s", folder, suffix[i]);
        unlink(path);
    }
    if (folder[0]) {
        rmdir(folder);
        folder[0] = 0;
    }
}

static const char *build(struct eval *e)
{
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(folder, sizeof folder, "%s/weft-eval-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (len < 0 || (size_t)len >= sizeof folder || !mkdtemp(folder)) {
        folder[0] = 0;
        diag_fatal(NO_LOC, "cannot make a temporary folder in '%s': %s", tmp && *tmp ? tmp : "/tmp",
                   strerror(errno));
    }
    atexit(remove_folder);
    const char *path = arena_printf(e->a, "%s/program", folder);
    build_quietly(&e->d, e->p, path);
    return path;
}

/* ---- its lines ------------------------------------------------------------------------------ */

static bool take_integer(const json_t *line, const char *key, uint32_t *out)
{
    const json_t *v = json_object_get(line, key);
    *out = (uint32_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0 && json_integer_value(v) < UINT32_MAX;
}

static bool take_line(struct eval *e, const char *text)
{
    json_t *line = json_loads(text, 0, NULL);
    const json_t *errors = json_object_get(line, "errors");
    uint32_t top, clear_top, label, index;
    bool good = take_integer(line, "class", &top) &&
                take_integer(line, "clear_class", &clear_top) &&
                take_integer(line, "true_class", &label) && take_integer(line, "index", &index) &&
                json_array_size(errors) == e->p->model.num_outputs && index == e->encrypted.images;
    for (size_t k = 0; good && k < json_array_size(errors); k++) {
        score_error(&e->encrypted, json_number_value(json_array_get(errors, k)));
    }
    if (good) {
        score_class(&e->encrypted, label, top, clear_top,
                    json_number_value(json_object_get(line, "margin")));
        e->infer_seconds += json_number_value(json_object_get(line, "infer_seconds"));
    }
    json_decref(line);
    return good;
}

void eval_encrypted(struct eval *e, uint64_t end)
{
    uint64_t first = e->encrypted.images;
    if (first >= end) {
        return;
    }
    const char *path = e->cli->program ? program_path(e->a, e->cli->program) : build(e);
    const char *argv[16] = {path,
                            "run",
                            e->cli->images,
                            "--index",
                            arena_printf(e->a, "%" PRIu64, first),
                            "--count",
                            arena_printf(e->a, "%" PRIu64, end - first),
                            "--lines",
                            "--quiet"};
    size_t argc = 9;
    if (e->cli->threads) {
        argv[argc++] = "--threads";
        argv[argc++] = e->cli->threads;
    }
    if (e->cli->max_memory) {
        argv[argc++] = "--max-memory";
        argv[argc++] = e->cli->max_memory_text;
    }
    eval_begin(e, "encrypted", first);
    struct child c = start(argv);
    char *text = NULL;
    size_t room = 0;
    bool good = true;
    while (good && !signals_caught() && getline(&text, &room, c.out) > 0) {
        good = take_line(e, text);
        if (good && !signals_caught()) {
            eval_step(e, e->encrypted.images, end);
        }
    }
    free(text);
    bool stopped = signals_caught();
    bool finished = finish(&c, stopped || !good);
    eval_save(e);
    if (stopped) {
        eval_step(e, e->encrypted.images, end);
    }
    if (!good) {
        diag_fatal(NO_LOC, "cannot read what '%s' says of an image", path);
    }
    if (!finished || e->encrypted.images != end) {
        diag_fatal(NO_LOC, "the program on encrypted images failed after %" PRIu64 " of %" PRIu64,
                   e->encrypted.images, end);
    }
    remove_folder();
}
