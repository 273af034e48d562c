/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From generated sources to binaries. Everything is made in a temporary folder beside the result
 * and renamed into place at the end; the folder goes away however the program ends. No shell is
 * involved.
 */
#include "compiler.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- the three main() functions ------------------------------------------------------------- */

#define MAIN(extra, call)                                                                          \
    "/* Written by weft. */\n#include \"rt_app.h\"\n" extra                                        \
    "\nint main(int argc, char **argv)\n{\n    return " call ";\n}\n"

static const char main_client[] = MAIN("\nextern const struct rt_interface weft_interface;\n",
                                       "rt_app_client(&weft_interface, argc, argv)");
static const char main_server[] = MAIN("\nextern const struct rt_program weft_program;\n",
                                       "rt_app_server(&weft_program, argc, argv)");
static const char main_all[] =
    MAIN("#include \"rt_clear.h\"\n\nextern const struct rt_program weft_program;\nextern const "
         "struct rt_clear_program weft_clear;\n",
         "rt_app_all(&weft_program, &weft_clear, argc, argv)");

struct generated generated_sources(const struct str *model, const struct str *interface,
                                   const struct str *clear, const struct str *data)
{
    struct generated g = {.num_files = NUM_GENERATED};
    g.file[GEN_MODEL] = (struct generated_file){"model.c", model->s, model->len};
    g.file[GEN_INTERFACE] = (struct generated_file){"interface.c", interface->s, interface->len};
    g.file[GEN_CLEAR] = (struct generated_file){"clear.c", clear->s, clear->len};
    g.file[GEN_MAIN_CLIENT] =
        (struct generated_file){"main_client.c", main_client, sizeof main_client - 1};
    g.file[GEN_MAIN_SERVER] =
        (struct generated_file){"main_server.c", main_server, sizeof main_server - 1};
    g.file[GEN_MAIN_ALL] = (struct generated_file){"main_all.c", main_all, sizeof main_all - 1};
    g.file[GEN_DATA] = (struct generated_file){"model.dat", data->s, data->len};
    return g;
}

/* ---- where the runtime is ------------------------------------------------------------------- */

struct toolchain {
    const char *library;    /* libweft_rt.a */
    const char *include[2]; /* folders with rt.h and rt_app.h */
};

static bool readable(const char *path)
{
    return access(path, R_OK) == 0;
}

/* A build tree (library in `build`, headers in the sources beside it) or an installation. */
static bool try_tree(struct arena *a, const char *build, const char *source, struct toolchain *t)
{
    t->library = arena_printf(a, "%s/libweft_rt.a", build);
    t->include[0] = arena_printf(a, "%s/runtime", source);
    t->include[1] = arena_printf(a, "%s/runtime/app", source);
    return readable(t->library) && readable(arena_printf(a, "%s/rt.h", t->include[0]));
}

static bool try_prefix(struct arena *a, const char *prefix, struct toolchain *t)
{
    t->library = arena_printf(a, "%s/lib/libweft_rt.a", prefix);
    t->include[0] = t->include[1] = arena_printf(a, "%s/include/weft", prefix);
    return readable(t->library) && readable(arena_printf(a, "%s/rt.h", t->include[0]));
}

/* Folder of the running program, or ".". */
static const char *own_folder(struct arena *a)
{
    char path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    if (len <= 0) {
        return ".";
    }
    path[len] = 0;
    char *slash = strrchr(path, '/');
    return slash ? arena_strndup(a, path, (size_t)(slash - path)) : ".";
}

static struct toolchain find_toolchain(struct arena *a)
{
    struct toolchain t;
    const char *home = getenv("WEFT_HOME"), *own = own_folder(a);
    if (home && *home) {
        if (try_prefix(a, home, &t) || try_tree(a, arena_printf(a, "%s/build", home), home, &t) ||
            try_tree(a, home, home, &t)) {
            return t;
        }
        diag_fatal(NO_LOC,
                   "WEFT_HOME is '%s', but neither lib/libweft_rt.a with include/weft/rt.h nor "
                   "build/libweft_rt.a with runtime/rt.h is there",
                   home);
    }
    /* build/weft, and build/variant/weft of the same sources */
    if (try_tree(a, own, arena_printf(a, "%s/..", own), &t) ||
        try_tree(a, own, arena_printf(a, "%s/../..", own), &t) ||
        try_prefix(a, arena_printf(a, "%s/..", own), &t)) {
        return t;
    }
    diag_fatal(NO_LOC,
               "cannot find the runtime (libweft_rt.a and rt.h) near '%s': set WEFT_HOME to the "
               "folder of Weft",
               own);
}

/* ---- running the C compiler ----------------------------------------------------------------- */

struct args {
    struct arena *a;
    const char **at;
    uint32_t len, cap;
};

static void arg(struct args *v, const char *s)
{
    ARENA_GROW(v->a, v->at, v->len, v->cap);
    v->at[v->len++] = s;
}

/* "ccache gcc", "-g -fsanitize=address": split at blanks */
static void arg_words(struct args *v, const char *s)
{
    while (s && *(s += strspn(s, " \t"))) {
        size_t len = strcspn(s, " \t");
        arg(v, arena_strndup(v->a, s, len));
        s += len;
    }
}

static const char *compiler_of(const struct cli *c)
{
    const char *env = getenv("CC");
    return c->cc ? c->cc : env && *env ? env : "cc";
}

static struct args command(struct arena *a, const struct cli *c)
{
    struct args v = {.a = a};
    arg_words(&v, compiler_of(c));
    if (v.len == 0) {
        diag_fatal(NO_LOC, "the name of the C compiler is empty");
    }
    return v;
}

/* A command that is running; those of one step run beside each other. */
struct job {
    pid_t child;
    const char *text;
};
struct jobs {
    struct job at[NUM_GENERATED];
    uint32_t len;
};

static void start(struct jobs *jobs, struct args *v)
{
    struct str text;
    pid_t child;
    str_init(&text, v->a);
    for (uint32_t i = 0; i < v->len; i++) {
        str_addf(&text, "%s%s", i ? " " : "", v->at[i]);
    }
    arg(v, NULL);
    fflush(NULL);
    int rc = posix_spawnp(&child, v->at[0], NULL, NULL, (char *const *)(uintptr_t)v->at, environ);
    if (rc != 0) {
        diag_error(NO_LOC, "cannot run the C compiler '%s': %s", v->at[0], strerror(rc));
        diag_hint(NO_LOC, "install gcc or clang, or name another one with --cc");
        diag_check();
    }
    jobs->at[jobs->len++] = (struct job){child, text.s};
}

static int wait_for(const struct jobs *jobs, uint32_t k)
{
    int status = 0;
    for (;;) {
        for (uint32_t i = k; signals_caught() && i < jobs->len; i++) {
            kill(jobs->at[i].child, SIGTERM);
        }
        if (waitpid(jobs->at[k].child, &status, 0) >= 0) {
            return status;
        }
        if (errno != EINTR) {
            diag_fatal(NO_LOC, "lost the C compiler: %s", strerror(errno));
        }
    }
}

/* Nothing is said before all have ended: the temporary folder goes with the first word. */
static void finish(struct jobs *jobs)
{
    const char *failed = NULL;
    for (uint32_t i = 0; i < jobs->len; i++) {
        int status = wait_for(jobs, i);
        if (!failed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
            failed = jobs->at[i].text;
        }
    }
    jobs->len = 0;
    if (signals_caught()) {
        diag_fatal(NO_LOC, "interrupted");
    }
    if (failed) {
        diag_fatal(NO_LOC, "the C compiler failed: %s", failed);
    }
}

/* ---- the temporary folder ------------------------------------------------------------------- */

static char temp_folder[PATH_MAX]; /* "" when there is none */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

static void remove_temp(void)
{
    if (temp_folder[0]) {
        nftw(temp_folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        temp_folder[0] = 0;
    }
}

static void make_temp(const char *name)
{
    static bool registered;
    int len = snprintf(temp_folder, sizeof temp_folder, "%s.tmpXXXXXX", name);
    if (len < 0 || (size_t)len >= sizeof temp_folder) {
        temp_folder[0] = 0;
        diag_fatal(NO_LOC, "the name of the result is too long");
    }
    if (!mkdtemp(temp_folder)) {
        temp_folder[0] = 0;
        diag_fatal(NO_LOC, "cannot write beside '%s': %s", name, strerror(errno));
    }
    signals_catch(); /* compilers are ended first */
    if (!registered) {
        registered = atexit(remove_temp) == 0;
    }
}

static const char *in_temp(struct arena *a, const char *name)
{
    return arena_printf(a, "%s/%s", temp_folder, name);
}

/* ---- objects and binaries ------------------------------------------------------------------- */

static const char *compile(struct jobs *jobs, struct arena *a, const struct cli *c,
                           const struct toolchain *t, const struct generated_file *f,
                           const char *level)
{
    const char *source = in_temp(a, f->name),
               *object = in_temp(a, arena_printf(a, "%.*s.o", (int)(strlen(f->name) - 2), f->name));
    file_write(source, f->text, f->len);
    struct args v = command(a, c);
    arg(&v, "-std=c11");
    arg(&v, level);
    arg(&v, "-I");
    arg(&v, t->include[0]);
    arg(&v, "-I");
    arg(&v, t->include[1]);
    arg_words(&v, getenv("WEFT_EXTRA_CFLAGS"));
    arg(&v, "-c");
    arg(&v, source);
    arg(&v, "-o");
    arg(&v, object);
    start(jobs, &v);
    return object;
}

static void link_one(struct jobs *jobs, struct arena *a, const struct cli *c,
                     const struct toolchain *t, const char *const *objects, const char *out)
{
    static const char *const libraries[] = {"-lsodium", "-lxxhash", "-ljansson",
                                            "-lpng",    "-ljpeg",   "-lm"};
    struct args v = command(a, c);
    arg(&v, "-fopenmp");
    arg_words(&v, getenv("WEFT_EXTRA_CFLAGS"));
    for (; *objects; objects++) {
        arg(&v, *objects);
    }
    arg(&v, t->library);
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        arg(&v, libraries[i]);
    }
    arg(&v, "-o");
    arg(&v, out);
    start(jobs, &v);
}

static const struct {
    const char *made, *suffix;
} results[] = {{"dat", ".dat"}, {"client", "-client"}, {"server", "-server"}, {"all", ""}};
enum { NUM_RESULTS = sizeof results / sizeof *results };

/* All of them or none: into a folder of its own first, so that a full disk leaves nothing half. */
void link_sources(struct arena *a, const struct generated *g, const char *folder)
{
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/') {
        len--;
    }
    folder = arena_strndup(a, folder, len);
    make_temp(folder);
    for (uint32_t i = 0; i < g->num_files; i++) {
        file_write(in_temp(a, g->file[i].name), g->file[i].text, g->file[i].len);
    }
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        diag_fatal(NO_LOC, "cannot make the folder '%s': %s", folder, strerror(errno));
    }
    for (uint32_t i = 0; i < g->num_files; i++) {
        const char *to = arena_printf(a, "%s/%s", folder, g->file[i].name);
        if (rename(in_temp(a, g->file[i].name), to) != 0) {
            diag_fatal(NO_LOC, "cannot write '%s': %s", to, strerror(errno));
        }
    }
    remove_temp();
}

void link_check(struct arena *a, const struct cli *c)
{
    if (c->emit != EMIT_EXE) {
        return;
    }
    find_toolchain(a);
    const char *slash = strrchr(c->output, '/');
    const char *folder = slash ? arena_strndup(a, c->output, (size_t)(slash - c->output) + 1) : ".";
    if (access(folder, W_OK | X_OK) != 0) {
        diag_fatal(NO_LOC, "cannot write into '%s': %s", folder, strerror(errno));
    }
    for (size_t i = 0; i < NUM_RESULTS; i++) {
        struct stat st;
        const char *path = arena_printf(a, "%s%s", c->output, results[i].suffix);
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
            diag_fatal(NO_LOC, "'%s' is a %s: -o wants the name of the program", path,
                       S_ISDIR(st.st_mode) ? "folder" : "device");
        }
    }
}

void link_binaries(struct arena *a, const struct cli *c, const struct generated *g)
{
    struct toolchain t = find_toolchain(a);
    const char *object[NUM_GENERATED] = {NULL};
    make_temp(c->output);
    struct jobs jobs = {.len = 0};
    for (int i = 0; i < GEN_DATA; i++) {
        /* all but clear.c, which has loops, is tables and a call after the other */
        object[i] = compile(&jobs, a, c, &t, &g->file[i], i == GEN_CLEAR ? "-O2" : "-O1");
    }
    file_write(in_temp(a, "dat"), g->file[GEN_DATA].text, g->file[GEN_DATA].len);
    finish(&jobs);
    const char *all[] = {object[GEN_MAIN_ALL], object[GEN_MODEL], object[GEN_INTERFACE],
                         object[GEN_CLEAR], NULL};
    const char *client[] = {object[GEN_MAIN_CLIENT], object[GEN_INTERFACE], NULL};
    const char *server[] = {object[GEN_MAIN_SERVER], object[GEN_MODEL], object[GEN_INTERFACE],
                            NULL};
    link_one(&jobs, a, c, &t, all, in_temp(a, "all"));
    link_one(&jobs, a, c, &t, client, in_temp(a, "client"));
    link_one(&jobs, a, c, &t, server, in_temp(a, "server"));
    finish(&jobs);
    for (size_t i = 0; i < NUM_RESULTS; i++) {
        const char *to = arena_printf(a, "%s%s", c->output, results[i].suffix);
        if (rename(in_temp(a, results[i].made), to) != 0) {
            diag_fatal(NO_LOC, "cannot write '%s': %s", to, strerror(errno));
        }
    }
    remove_temp();
}
