/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void str_init(struct str *b, struct arena *a)
{
    *b = (struct str){.a = a};
}

static char *room(struct str *b, size_t n)
{
    if (b->cap - b->len <= n) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - b->len <= n) {
            if (cap > SIZE_MAX / 2) {
                diag_fatal(NO_LOC, "out of memory");
            }
            cap *= 2;
        }
        char *s = arena_alloc(b->a, cap);
        arena_copy_(s, b->s, b->len);
        b->s = s;
        b->cap = cap;
    }
    return b->s + b->len;
}

void str_addn(struct str *b, const char *s, size_t n)
{
    char *end = room(b, n);
    arena_copy_(end, s, n);
    end[n] = '\0';
    b->len += n;
}

void str_add(struct str *b, const char *s)
{
    str_addn(b, s, strlen(s));
}

void str_addf(struct str *b, const char *fmt, ...)
{
    char small[256];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        BUG("bad format '%s'", fmt);
    }
    if ((size_t)n < sizeof small) {
        str_addn(b, small, (size_t)n);
    } else {
        vsnprintf(room(b, (size_t)n), (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

/* 15 digits survive decimal -> double -> decimal and %g drops trailing zeros, so the first
 * precision from 15 up that reads back is the shortest. 17 always does. */
void str_add_double(struct str *b, double x)
{
    char s[40];
    if (isnan(x)) {
        str_add(b, "nan");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x) {
            break;
        }
    }
    str_add(b, s);
}
