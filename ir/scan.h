/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_SCAN_H
#define WEFT_SCAN_H

/* Characters to values, for parse.c. Whatever is not as expected is diag_fatal() at its place. */

#include "ir.h"

struct scan {
    struct prog *p; /* owns lists and strings */
    const char *at, *end, *line_start;
    uint32_t file, line;
    /* of the parser */
    enum { IN_HEADER, IN_TABLES, IN_REFERENCE, IN_PACKED, IN_FUNCTION, IN_PROGRAM } section;
    uint32_t key_cap, func_cap, point_cap;
    const char *place_name; /* the last file name of a place, so that it is looked up once */
    uint32_t place_file;
};

struct loc scan_loc(const struct scan *s, const char *at); /* at: on the current line */
#define SCAN_FAIL(s, at, ...) diag_fatal(scan_loc(s, at), __VA_ARGS__)

void scan_blanks(struct scan *s);
char scan_peek(
    struct scan *s); /* the next character after blanks; '\n' at the end of the text too */
bool scan_accept(struct scan *s, char c);
void scan_expect(struct scan *s, char c);

/* Lines. A comment begins with '#'. */
void scan_end_of_line(struct scan *s);
void scan_skip_comment(struct scan *s); /* an optional comment and the end of the line */
bool scan_find_line(struct scan *s);    /* to the next line that says something; false at the end */

/* A word into buf; "" when there is none. *from is where it begins. */
enum { SCAN_WORD = 64 };
bool scan_is_word(char c);
void scan_word(struct scan *s, char buf[SCAN_WORD], const char **from);
bool scan_accept_word(struct scan *s, const char *want);
void scan_key(struct scan *s, const char *key); /* key= */

int64_t scan_integer(struct scan *s, int64_t low, int64_t high);
uint32_t scan_number(struct scan *s, uint32_t low, uint32_t high);
uint64_t scan_hex(struct scan *s);
double scan_real(struct scan *s); /* finite */
double scan_positive(struct scan *s);
const char *scan_string(struct scan *s); /* in quotes */
const char *scan_name(struct scan *s);   /* in quotes or plain; interned */

/* Lists in brackets. */
struct scan_ints {
    int64_t *v;
    uint32_t len, cap;
    int64_t low, high;
};
struct scan_ints scan_ints(struct scan *s, int64_t low, int64_t high);
struct scan_ints scan_ints_of(struct scan *s, uint32_t len, int64_t low,
                              int64_t high);                                      /* exactly len */
uint64_t *scan_words(struct scan *s, uint32_t most, int64_t high, uint32_t *len); /* 1..high each */
const double *scan_reals(struct scan *s, uint32_t *len);
const double *scan_reals_of(struct scan *s, uint32_t len);
const char *const *scan_strings(struct scan *s, uint32_t *len);

#endif
