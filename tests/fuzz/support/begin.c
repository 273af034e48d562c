/* SPDX-License-Identifier: Apache-2.0 */
#include "../fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

jmp_buf fuzz_out;

enum { MAX_MAPS = 64 };
static struct mapped_file maps[MAX_MAPS];
static unsigned num_maps;

/* The linker puts these in the place of file_map() (--wrap). */
bool __real_file_map(const char *path, struct mapped_file *out, const char **why);
bool __wrap_file_map(const char *path, struct mapped_file *out, const char **why);

bool __wrap_file_map(const char *path, struct mapped_file *out, const char **why)
{
    if (num_maps == MAX_MAPS) {
        *why = "too many files for the fuzzer";
        return false;
    }
    if (!__real_file_map(path, out, why)) {
        return false;
    }
    maps[num_maps++] = *out;
    return true;
}

static void leave(bool bug)
{
    if (bug) {
        abort();
    }
    longjmp(fuzz_out, 1);
}

struct arena *fuzz_begin(void)
{
    diag_reset();
    diag_set_stream(NULL);
    diag_set_handler(leave);
    return arena_new();
}

void fuzz_end(struct arena *a)
{
    while (num_maps > 0) {
        const struct mapped_file *m = &maps[--num_maps];
        if (m->size > 0) {
            munmap((void *)(uintptr_t)m->data, m->size);
        }
    }
    arena_free(a);
}
