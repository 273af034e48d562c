/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct source {
    const char *name, *text;
    size_t len;
};

/* The compiler is one thread; a diagnostic may come from anywhere in it. */
static struct {
    struct arena *arena;
    struct source *file; /* file[i] has index i + 1 */
    uint32_t num_files, cap_files;
    unsigned errors;
    diag_handler *handler;
    FILE *stream;
    bool silent;
} state;

uint32_t diag_add_file(const char *name, const char *text, size_t len)
{
    for (uint32_t i = 0; i < state.num_files; i++) {
        if (strcmp(state.file[i].name, name) == 0) {
            if (text) {
                state.file[i].text = text;
                state.file[i].len = len;
            }
            return i + 1;
        }
    }
    if (!state.arena) {
        state.arena = arena_new();
    }
    ARENA_GROW(state.arena, state.file, state.num_files, state.cap_files);
    state.file[state.num_files] =
        (struct source){arena_strdup(state.arena, name), text, text ? len : 0};
    return ++state.num_files;
}

const char *diag_file_name(uint32_t file)
{
    return file == 0 || file > state.num_files ? "" : state.file[file - 1].name;
}

void diag_set_handler(diag_handler *h)
{
    state.handler = h;
}

void diag_set_stream(FILE *f)
{
    state.stream = f;
    state.silent = f == NULL;
}

void diag_reset(void)
{
    arena_free(state.arena);
    state.arena = NULL;
    state.file = NULL;
    state.num_files = state.cap_files = 0;
    state.errors = 0;
}

unsigned diag_error_count(void)
{
    return state.errors;
}

/* ---- text ----------------------------------------------------------------------------------- */

static bool coloured(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    return !(no && *no) && isatty(fileno(out));
}

static bool source_line(struct loc loc, const char **line, size_t *len)
{
    if (loc.file == 0 || loc.file > state.num_files || loc.line == 0) {
        return false;
    }
    const struct source *f = &state.file[loc.file - 1];
    if (!f->text) {
        return false;
    }
    const char *s = f->text;
    const char *end = f->text + f->len;
    for (uint32_t i = 1; i < loc.line; i++) {
        const char *nl = memchr(s, '\n', (size_t)(end - s));
        if (!nl) {
            return false;
        }
        s = nl + 1;
    }
    const char *nl = memchr(s, '\n', (size_t)(end - s));
    *line = s;
    *len = (size_t)((nl ? nl : end) - s);
    return true;
}

/* Columns count characters, so the continuation bytes of UTF-8 take no room. */
static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Byte position of column `col`; at most len. */
static size_t column_byte(const char *line, size_t len, uint32_t col)
{
    size_t i = 0;
    for (uint32_t c = 1; i < len; i++) {
        if (continues(line[i])) {
            continue;
        }
        if (c++ >= col) {
            break;
        }
    }
    return i;
}

static void put_safe(FILE *out, char c)
{
    unsigned char u = (unsigned char)c;
    putc(u == '\t' || (u >= 0x20 && u != 0x7f) ? c : '?', out);
}

static void quote(FILE *out, struct loc loc, bool colour)
{
    const char *line;
    size_t len;
    if (loc.col == 0 || !source_line(loc, &line, &len)) {
        return;
    }
    while (len > 0 && line[len - 1] == '\r') {
        len--;
    }
    /* of a long line, the part around the place */
    enum { BEFORE = 72, WIDTH = 110 };
    size_t at = column_byte(line, len, loc.col);
    size_t from = at > BEFORE + 20 ? at - BEFORE : 0;
    while (from < at && continues(line[from])) {
        from++;
    }
    size_t to = len - from > WIDTH ? from + WIDTH : len;
    fprintf(out, "%4u | %s", loc.line, from ? "..." : "");
    for (size_t i = from; i < to; i++) {
        put_safe(out, line[i]);
    }
    fprintf(out, "%s\n     | %s", to < len ? "..." : "", from ? "   " : "");
    for (size_t i = from; i < at; i++) {
        if (!continues(line[i])) {
            putc(line[i] == '\t' ? '\t' : ' ', out);
        }
    }
    fputs(colour ? "\033[1;32m^\033[0m\n" : "^\n", out);
}

static WEFT_PRINTF(4, 0) void say(const char *kind, const char *sgr, struct loc loc,
                                  const char *fmt, va_list ap)
{
    if (state.silent) {
        return;
    }
    FILE *out = state.stream ? state.stream : stderr;
    bool colour = coloured(out);
    if (loc.file != 0) {
        fprintf(out, "%s", diag_file_name(loc.file));
        if (loc.line != 0) {
            fprintf(out, ":%u", loc.line);
            if (loc.col != 0) {
                fprintf(out, ":%u", loc.col);
            }
        }
        fputs(": ", out);
    }
    fprintf(out, colour ? "\033[%s%s:\033[0m " : "%.0s%s: ", sgr, kind);
    vfprintf(out, fmt, ap);
    putc('\n', out);
    if (strcmp(kind, "hint") != 0) {
        quote(out, loc, colour);
    }
    fflush(out);
}

#define SAY(kind, sgr)                                                                             \
    do {                                                                                           \
        va_list ap_;                                                                               \
        va_start(ap_, fmt);                                                                        \
        say(kind, sgr, loc, fmt, ap_);                                                             \
        va_end(ap_);                                                                               \
    } while (0)

void diag_error(struct loc loc, const char *fmt, ...)
{
    SAY("error", "1;31m");
    state.errors++;
}

void diag_hint(struct loc loc, const char *fmt, ...)
{
    SAY("hint", "1;36m");
}

void diag_warning(struct loc loc, const char *fmt, ...)
{
    SAY("warning", "1;35m");
}

void diag_note(struct loc loc, const char *fmt, ...)
{
    SAY("note", "1;36m");
}

/* ---- ends ----------------------------------------------------------------------------------- */

static WEFT_NORETURN void end(bool bug)
{
    if (state.handler) {
        state.handler(bug);
    }
    if (bug) {
        abort();
    }
    exit(1);
}

static jmp_buf leave;

static void caught(bool bug)
{
    (void)bug;
    longjmp(leave, 1);
}

bool diag_try(struct arena *a, void (*f)(void *ctx), void *ctx, const char **said)
{
    static char *text; /* static: longjmp keeps it */
    static size_t len;
    static FILE *stream, *before;
    static diag_handler *handler;
    static unsigned errors;
    static bool silent, good;
    stream = open_memstream(&text, &len);
    if (!stream) {
        diag_fatal(NO_LOC, "out of memory");
    }
    handler = state.handler;
    before = state.stream;
    silent = state.silent;
    errors = state.errors;
    diag_set_stream(stream);
    diag_set_handler(caught);
    good = false;
    if (setjmp(leave) == 0) {
        f(ctx);
        good = true;
    }
    state.handler = handler;
    state.stream = before;
    state.silent = silent;
    state.errors = good ? state.errors : errors;
    fclose(stream);
    *said = arena_strndup(a, text, len);
    if (good && !silent) {
        fputs(text, before ? before : stderr);
    }
    free(text);
    return good;
}

void diag_check(void)
{
    if (state.errors != 0) {
        end(false);
    }
}

void diag_fatal(struct loc loc, const char *fmt, ...)
{
    SAY("error", "1;31m");
    state.errors++;
    end(false);
}

void diag_bug(const char *file, int line, const char *fmt, ...)
{
    if (!state.silent) {
        FILE *out = state.stream ? state.stream : stderr;
        fprintf(out, "%s:%d: internal error: ", file, line);
        va_list ap;
        va_start(ap, fmt);
        vfprintf(out, fmt, ap);
        va_end(ap);
        putc('\n', out);
        fflush(out);
    }
    end(true);
}

/* ---- did you mean --------------------------------------------------------------------------- */

enum { LONGEST_WORD = 63 };

/* Edit distance with transpositions (optimal string alignment). */
static size_t distance(const char *a, size_t la, const char *b, size_t lb)
{
    size_t d[3][LONGEST_WORD + 1]; /* rows i-2, i-1, i, taken modulo 3 */
    for (size_t j = 0; j <= lb; j++) {
        d[0][j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        size_t *row = d[i % 3];
        const size_t *up = d[(i + 2) % 3];
        const size_t *upup = d[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);
            best = up[j] + 1 < best ? up[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                upup[j - 2] + 1 < best) {
                best = upup[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return d[la % 3][lb];
}

const char *diag_nearest(const char *word, const char *const *candidates)
{
    size_t len = strlen(word);
    if (len == 0 || len > LONGEST_WORD) {
        return NULL;
    }
    const char *best = NULL;
    size_t best_d = len < 3 ? 1 : (len + 1) / 3; /* farther is no typing mistake */
    for (; *candidates; candidates++) {
        size_t lc = strlen(*candidates);
        if (lc == 0 || lc > LONGEST_WORD) {
            continue;
        }
        size_t dist = distance(word, len, *candidates, lc);
        if (dist < best_d || (dist == best_d && !best)) {
            best = *candidates;
            best_d = dist;
        }
    }
    return best;
}
