/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_BASE_H
#define WEFT_BASE_H

/*
 * Bottom of the compile-time stack: regions, growing arrays, strings, hashing, diagnostics.
 * Everything that the compiler allocates lives in an arena; nothing is freed one by one.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define WEFT_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define WEFT_NORETURN     __attribute__((noreturn))
#else
#define WEFT_PRINTF(a, b)
#define WEFT_NORETURN
#endif

/* ---- arena.c ------------------------------------------------------------------------------ */

struct arena; /* opaque: a list of blocks */

struct arena *arena_new(void);
void arena_free(struct arena *a);
/* An arena that is freed with its parent, and that marks on the parent do not reach. */
struct arena *arena_child(struct arena *parent);

/* Zeroed memory, aligned to 16 bytes, owned by the arena. Never returns NULL: out of memory is
 * diag_fatal(). n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *a, size_t n);
/* count * size, refused with diag_fatal() where the product overflows */
void *arena_array(struct arena *a, size_t count, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) WEFT_PRINTF(2, 3);
size_t arena_bytes(const struct arena *a);

/* A position in the arena: everything allocated after mark() is given back by release(). */
struct arena_mark {
    void *block;
    size_t used;
};
struct arena_mark arena_mark(struct arena *a);
void arena_release(struct arena *a, struct arena_mark m);

/*
 * Growing array in an arena: ptr is a T *, len and cap are size_t or uint32_t lvalues.
 * Makes room for one more element. The old storage stays in the arena (doubling bounds the waste).
 */
#define ARENA_GROW(a, ptr, len, cap)                                                               \
    do {                                                                                           \
        if ((len) >= (cap)) {                                                                      \
            size_t grow_cap_ = (cap) ? 2 * (size_t)(cap) : 8;                                      \
            void *grow_new_ = arena_array((a), grow_cap_, sizeof *(ptr));                          \
            arena_copy_(grow_new_, (ptr), (size_t)(len) * sizeof *(ptr));                          \
            (ptr) = grow_new_;                                                                     \
            (cap) = (__typeof__(cap))grow_cap_;                                                    \
        }                                                                                          \
    } while (0)
void arena_copy_(void *dst, const void *src, size_t n); /* memcpy that accepts (x, NULL, 0) */

/* ---- str.c: a text buffer that grows in an arena ------------------------------------------ */

struct str {
    struct arena *a;
    char *s; /* always NUL-terminated once something was added */
    size_t len, cap;
};
void str_init(struct str *b, struct arena *a);
void str_add(struct str *b, const char *s);
void str_addn(struct str *b, const char *s, size_t n);
void str_addf(struct str *b, const char *fmt, ...) WEFT_PRINTF(2, 3);
/* Shortest decimal form that reads back to the same double ("0.1", "1e-05", "nan", "inf"). */
void str_add_double(struct str *b, double x);

/* ---- map.c: hash table on xxHash, insertion-order iteration ------------------------------- */

struct map {
    struct arena *a;
    struct map_entry {
        const void *key;
        size_t key_len;
        uint64_t hash;
        uint64_t value;
    } * entry; /* in order of insertion */
    uint32_t len, cap;
    uint32_t *bucket; /* open addressing, index + 1 into entry */
    uint32_t num_buckets;
};
void map_init(struct map *m, struct arena *a);
/* The key's bytes are not copied: they must outlive the map. Returns a pointer to the value, valid
 * until the next insertion; *is_new says whether it was inserted now (value 0). */
uint64_t *map_put(struct map *m, const void *key, size_t key_len, bool *is_new);
/* NULL when absent */
const uint64_t *map_get(const struct map *m, const void *key, size_t key_len);
uint64_t hash_bytes(const void *data, size_t n, uint64_t seed); /* XXH3 64 */

/* ---- diag.c: the two failure channels ----------------------------------------------------- */

/* A place in a source text. file 0 = none; line and col count from 1. */
struct loc {
    uint32_t file; /* index given by diag_add_file() */
    uint32_t line, col;
};
#define NO_LOC ((struct loc){0, 0, 0})

/* Register a source text so that diagnostics can quote its lines; text may be NULL (not quoted).
 * The strings must outlive all diagnostics. Returns its index (>= 1). Same name gives the same
 * index. */
uint32_t diag_add_file(const char *name, const char *text, size_t len);
const char *diag_file_name(uint32_t file); /* "" for 0 */

/*
 * The user's mistake. Prints
 *     model.yaml:14:3: error: conv2d 'c1' needs ...
 *       14 |   kernel: 0
 *          |   ^
 *     model.yaml:14:3: hint: did you mean 'stride'?      (diag_hint, after an error)
 * to stderr. diag_error() counts and returns, so that one run can list several mistakes;
 * diag_check() ends the run if any were counted; diag_fatal() is error + check.
 */
void diag_error(struct loc loc, const char *fmt, ...) WEFT_PRINTF(2, 3);
void diag_hint(struct loc loc, const char *fmt, ...) WEFT_PRINTF(2, 3);
void diag_warning(struct loc loc, const char *fmt, ...) WEFT_PRINTF(2, 3);
void diag_note(struct loc loc, const char *fmt, ...) WEFT_PRINTF(2, 3);
unsigned diag_error_count(void);
void diag_check(void);
void diag_fatal(struct loc loc, const char *fmt, ...) WEFT_PRINTF(2, 3) WEFT_NORETURN;

/* Our mistake: prints C file:line, the text, and aborts. */
void diag_bug(const char *file, int line, const char *fmt, ...) WEFT_PRINTF(3, 4) WEFT_NORETURN;
#define BUG(...) diag_bug(__FILE__, __LINE__, __VA_ARGS__)

/* Where fatal errors end: the default exits with 1 (bug: abort). A fuzz harness or a test sets a
 * handler that longjmps out; it must not return. `bug` says which channel. */
typedef void diag_handler(bool bug);
void diag_set_handler(diag_handler *h); /* NULL restores the default */
void diag_reset(void);                  /* forget errors and files (tests, fuzzers) */
/* Runs f(ctx). False where it ended in a mistake, of the user's or ours, which is then forgotten: *said is
 * the text, in the arena. Else all that was said goes to the stream as usual. Not within itself. */
bool diag_try(struct arena *a, void (*f)(void *ctx), void *ctx, const char **said);
/* Redirect text to a stream (default stderr); NULL silences. */
void diag_set_stream(FILE *f);

/* Closest of the NULL-terminated candidates by edit distance, or NULL when none is near. */
const char *diag_nearest(const char *word, const char *const *candidates);

/* ---- file.c ------------------------------------------------------------------------------- */

struct mapped_file {
    const uint8_t *data;
    size_t size;
};
/* Map a regular file read-only, for the life of the process. On failure returns false and *why
 * is a static or errno text. */
bool file_map(const char *path, struct mapped_file *out, const char **why);
/* Write to "path.tmpXXXX", then rename; "-" is stdout. Devices and pipes are written as they are; of a
 * symbolic link the target is replaced. On failure diag_fatal()s with the path. */
void file_write(const char *path, const void *data, size_t size);

#endif
