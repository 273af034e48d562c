/* SPDX-License-Identifier: Apache-2.0 */
#include "eval.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- text ----------------------------------------------------------------------------------- */

static void print_row(const char *name, const struct score *s, bool clear)
{
    double low, high;
    score_interval(s->right, s->images, &low, &high);
    printf("%-11s %8" PRIu64 " %8" PRIu64 " %8.2f %%  %6.2f to %6.2f %%", name, s->images, s->right,
           score_percent(s->right, s->images), 100 * low, 100 * high);
    if (!clear) {
        score_interval(s->agree, s->images, &low, &high);
        printf("  %8" PRIu64 "  %6.2f to %6.2f %%", s->agree, 100 * low, 100 * high);
    }
    printf("\n");
}

static void print_errors(const char *name, const struct score *s)
{
    printf("%-11s %10.3g %10.3g %6.1f bits", name, s->max_error, s->sum_error / (double)s->values,
           s->max_error > 0 ? -log2(s->max_error) : INFINITY);
    if (s->agree < s->images) {
        printf("   classes differ up to a margin of %.3g", s->worst_margin);
    }
    printf("\n");
}

static void histogram_range(const struct eval *e, int *first, int *last)
{
    *first = SCORE_BINS;
    *last = -1;
    for (int k = 0; k < SCORE_BINS; k++) {
        if (e->simulated.bin[k] || e->encrypted.bin[k]) {
            *first = k < *first ? k : *first;
            *last = k;
        }
    }
}

static void print_histogram(const struct eval *e)
{
    int first, last;
    histogram_range(e, &first, &last);
    printf("\nlogit error          simulated%s\n",
           e->encrypted.values ? "            encrypted" : "");
    for (int k = last; k >= first; k--) {
        double share = score_percent(e->simulated.bin[k], e->simulated.values);
        char range[32];
        if (k == 0) {
            snprintf(range, sizeof range, "below 2^%d", SCORE_LEAST + 1);
        } else {
            snprintf(range, sizeof range, "from 2^%d", SCORE_LEAST + k);
        }
        printf("%-13s %10" PRIu64 " %6.2f %%", range, e->simulated.bin[k], share);
        if (e->encrypted.values) {
            double other = score_percent(e->encrypted.bin[k], e->encrypted.values);
            printf(" %10" PRIu64 " %6.2f %%", e->encrypted.bin[k], other);
            share = other;
        }
        int bar = (int)lround(share / 2.5);
        printf("%s%.*s\n", bar ? " " : "", bar, "########################################");
    }
}

static const char *short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void print_ranges(const struct eval *e)
{
    uint32_t known = 0, left = 0;
    for (uint32_t k = 0; k < e->survey.num_acts; k++) {
        known += e->survey.act[k].low != NULL;
        left += e->survey.act[k].left > 0;
    }
    printf("\n");
    if (known == 0) {
        printf("ranges      not known: the weights hold no LAYER.range of training\n");
        return;
    }
    printf("ranges      %u of %u activations with known range are left\n", (unsigned)left,
           (unsigned)known);
    for (uint32_t k = 0; k < e->survey.num_acts; k++) {
        const struct activation *a = &e->survey.act[k];
        if (a->left) {
            const struct loc at = a->node->loc;
            printf("  %s (%s:%u): %" PRIu64 " images, channel %u reaches %.4g, made for %.4g to "
                   "%.4g\n",
                   a->node->layer, short_name(diag_file_name(at.file)), (unsigned)at.line, a->left,
                   (unsigned)a->worst, a->value, a->low[a->worst], a->high[a->worst]);
        }
    }
}

void eval_report(const struct eval *e)
{
    printf("%-11s %8s %8s %10s  %19s  %8s  %19s\n", "", "images", "right", "top-1", "95 % interval",
           "as clear", "95 % interval");
    print_row("clear", &e->clear, true);
    print_row("simulated", &e->simulated, false);
    if (e->encrypted.images) {
        print_row("encrypted", &e->encrypted, false);
        if (e->encrypted.images < e->clear.images) {
            printf("            on these images clear is right on %" PRIu64 "\n",
                   e->encrypted.clear_right);
        }
    }
    printf("\n%-11s %10s %10s\n", "logit error", "largest", "mean");
    print_errors("simulated", &e->simulated);
    if (e->encrypted.images) {
        print_errors("encrypted", &e->encrypted);
    }
    print_histogram(e);
    print_ranges(e);
    if (e->encrypted.images) {
        printf("time        %.3f s an encrypted image\n",
               e->infer_seconds / (double)e->encrypted.images);
    }
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_share(struct str *out, const char *name, uint64_t part, uint64_t all)
{
    double low, high;
    score_interval(part, all, &low, &high);
    str_addf(out, "\"%s\": %" PRIu64 ", \"%s_interval\": [%.6f, %.6f]", name, part, name, low,
             high);
}

static void json_number(struct str *out, const char *name, double x)
{
    if (isfinite(x)) {
        str_addf(out, ", \"%s\": %.6g", name, x);
    } else {
        str_addf(out, ", \"%s\": null", name);
    }
}

static void json_score(struct str *out, const char *name, const struct score *s, bool clear)
{
    str_addf(out, "  \"%s\": {\"images\": %" PRIu64 ", ", name, s->images);
    json_share(out, "right", s->right, s->images);
    if (!clear) {
        str_add(out, ", ");
        json_share(out, "agree", s->agree, s->images);
        str_addf(out, ", \"clear_right\": %" PRIu64, s->clear_right);
        json_number(out, "max_logit_error", s->max_error);
        json_number(out, "mean_logit_error", s->sum_error / (double)s->values);
        json_number(out, "worst_margin", s->worst_margin);
        str_add(out, ",\n    \"histogram\": [");
        bool any = false;
        for (int k = 0; k < SCORE_BINS; k++) {
            if (s->bin[k]) {
                str_addf(out, "%s[%d, %" PRIu64 "]", any ? ", " : "", SCORE_LEAST + k, s->bin[k]);
                any = true;
            }
        }
        str_add(out, "]");
    }
    str_add(out, "},\n");
}

static void json_text(struct str *out, const char *s)
{
    str_add(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            str_addf(out, "\\%c", c);
        } else if (c < ' ') {
            str_addf(out, "\\u%04x", c);
        } else {
            str_addn(out, s, 1);
        }
    }
    str_add(out, "\"");
}

void eval_json(const struct eval *e, struct str *out)
{
    str_add(out, "{\n");
    json_score(out, "clear", &e->clear, true);
    json_score(out, "simulated", &e->simulated, false);
    if (e->encrypted.images) {
        json_score(out, "encrypted", &e->encrypted, false);
        str_addf(out, "  \"infer_seconds\": %.6g,\n",
                 e->infer_seconds / (double)e->encrypted.images);
    }
    str_add(out, "  \"left_ranges\": [");
    bool any = false;
    for (uint32_t k = 0; k < e->survey.num_acts; k++) {
        const struct activation *a = &e->survey.act[k];
        if (a->left) {
            str_add(out, any ? ",\n    {\"layer\": " : "\n    {\"layer\": ");
            json_text(out, a->node->layer);
            str_addf(out, ", \"line\": %u, \"images\": %" PRIu64 ", \"channel\": %u",
                     (unsigned)a->node->loc.line, a->left, (unsigned)a->worst);
            json_number(out, "value", a->value);
            json_number(out, "low", a->low[a->worst]);
            json_number(out, "high", a->high[a->worst]);
            str_add(out, "}");
            any = true;
        }
    }
    str_add(out, any ? "\n  ]\n}\n" : "]\n}\n");
}
