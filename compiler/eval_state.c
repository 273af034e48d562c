/* SPDX-License-Identifier: Apache-2.0 */
/* What of an evaluation is done, as a text beside the result: names and numbers, one count a word. */
#include "eval.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char first_line[] = "weft-eval 1";

static void add_score(struct str *out, const char *name, const struct score *s)
{
    str_addf(out, "%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, name, s->images,
             s->right, s->clear_right, s->agree, s->values);
    str_addf(out, " %.17g %.17g %.17g", s->worst_margin, s->max_error, s->sum_error);
    for (int k = 0; k < SCORE_BINS; k++) {
        str_addf(out, " %" PRIu64, s->bin[k]);
    }
    str_add(out, "\n");
}

void eval_save(struct eval *e)
{
    struct arena_mark m = arena_mark(e->a);
    struct str out;
    str_init(&out, e->a);
    str_addf(&out, "%s %016" PRIx64 "\n", first_line, e->key);
    add_score(&out, "clear", &e->clear);
    add_score(&out, "simulated", &e->simulated);
    add_score(&out, "encrypted", &e->encrypted);
    str_addf(&out, "seconds %.17g\n", e->infer_seconds);
    for (uint32_t k = 0; k < e->survey.num_acts; k++) {
        const struct activation *a = &e->survey.act[k];
        str_addf(&out, "activation %" PRIu64 " %u %.17g %.17g\n", a->left, (unsigned)a->worst,
                 a->excess, a->value);
    }
    str_add(&out, "end\n");
    file_write(e->path, out.s, out.len);
    arena_release(e->a, m);
    e->saved = driver_seconds();
}

/* ---- reading back --------------------------------------------------------------------------- */

struct reader {
    const char *at, *end;
    bool good;
};

static void word(struct reader *r, const char *text)
{
    size_t len = strlen(text);
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n')) {
        r->at++;
    }
    r->good = r->good && (size_t)(r->end - r->at) >= len && memcmp(r->at, text, len) == 0;
    r->at += r->good ? len : 0;
}

static const char *number_text(struct reader *r, char text[64])
{
    word(r, "");
    size_t len = 0;
    while (r->at + len < r->end && len < 63 && !strchr(" \n", r->at[len])) {
        len++;
    }
    memcpy(text, r->at, len);
    text[len] = 0;
    r->at += len;
    r->good = r->good && len > 0;
    return text;
}

static uint64_t count(struct reader *r)
{
    char text[64], *end;
    uint64_t v = strtoull(number_text(r, text), &end, 10);
    r->good = r->good && *end == 0 && text[0] != '-';
    return v;
}

static double real(struct reader *r)
{
    char text[64], *end;
    double v = strtod(number_text(r, text), &end);
    r->good = r->good && *end == 0;
    return v;
}

static void read_score(struct reader *r, const char *name, struct score *s)
{
    word(r, name);
    s->images = count(r);
    s->right = count(r);
    s->clear_right = count(r);
    s->agree = count(r);
    s->values = count(r);
    s->worst_margin = real(r);
    s->max_error = real(r);
    s->sum_error = real(r);
    for (int k = 0; k < SCORE_BINS; k++) {
        s->bin[k] = count(r);
    }
    r->good =
        r->good && s->right <= s->images && s->clear_right <= s->images && s->agree <= s->images;
}

static void read_survey(struct reader *r, struct survey *s)
{
    for (uint32_t k = 0; k < s->num_acts && r->good; k++) {
        struct activation *a = &s->act[k];
        word(r, "activation");
        a->left = count(r);
        uint64_t worst = count(r);
        r->good = r->good && worst < a->channels;
        a->worst = (uint32_t)worst;
        a->excess = real(r);
        a->value = real(r);
    }
}

void eval_load(struct eval *e)
{
    struct mapped_file file;
    const char *why;
    char key[64], wanted[17];
    if (!file_map(e->path, &file, &why)) {
        diag_fatal(NO_LOC, "nothing to resume: %s: %s", e->path, why);
    }
    struct reader r = {(const char *)file.data, (const char *)file.data + file.size, true};
    word(&r, first_line);
    number_text(&r, key);
    if (!r.good) {
        diag_fatal(NO_LOC, "%s: not the state of an evaluation", e->path);
    }
    snprintf(wanted, sizeof wanted, "%016" PRIx64, e->key);
    if (strcmp(key, wanted) != 0) {
        diag_fatal(NO_LOC,
                   "%s: the state of another evaluation (model, images and parameters must be the "
                   "same)",
                   e->path);
    }
    read_score(&r, "clear", &e->clear);
    read_score(&r, "simulated", &e->simulated);
    read_score(&r, "encrypted", &e->encrypted);
    word(&r, "seconds");
    e->infer_seconds = real(&r);
    read_survey(&r, &e->survey);
    word(&r, "end");
    if (!r.good || e->simulated.images > e->images.len || e->encrypted.images > e->images.len ||
        e->clear.images != e->simulated.images) {
        diag_fatal(NO_LOC, "%s: the state is damaged: begin again without --resume", e->path);
    }
}
