/* SPDX-License-Identifier: Apache-2.0 */
/* weft estimate, weft build --estimate: what a program will take, before anything is built or run. */
#include "compiler.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends.h"
#include "passes.h"

/* Every file has a header and a description of what follows; a key's record, and the seed of a fresh
 * ciphertext, have as many bytes (runtime/rt.h). */
enum { BLOCK = 64 };

struct node_ns *estimate_node_ns(const struct prog *p, struct arena *a)
{
    struct node_ns *ns = arena_array(a, p->nodes.len, sizeof *ns);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        ns[i] = cost_node_times(p, &p->nodes.at[i]);
    }
    return ns;
}

static uint64_t limb_bytes(const struct prog *p)
{
    return (uint64_t)8 << p->params.log_n;
}

struct file_bytes estimate_files(const struct prog *p)
{
    struct file_bytes f = {2 * BLOCK, 2 * BLOCK, 2 * BLOCK};
    for (uint32_t i = 0; i < p->num_keys; i++) {
        f.keys += BLOCK + key_limbs(&p->params, &p->keys[i]) * limb_bytes(p);
    }
    bool seen = false;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op == OP_input && !seen) { /* also ciphertexts that nothing reads are sent */
            seen = true;
            f.image += p->layouts[node_int(n, KEY_layout)].num_ct *
                       (BLOCK + (uint64_t)(n->type.level + 1) * limb_bytes(p));
        } else if (n->op == OP_output) {
            f.result += 2 * (uint64_t)(p->nodes.at[n->args[0]].type.level + 1) * limb_bytes(p) *
                        n->num_args;
        }
    }
    return f;
}

/* What two layouts are compared by */
struct totals {
    uint64_t rotations, key_switches, decompositions, products, plaintext_bytes;
    struct prog_memory memory;
    struct node_ns ns;
};

static struct totals totals_of(const struct prog *p)
{
    struct prog_stats s = prog_stats(p);
    return (struct totals){.rotations = s.rotations,
                           .key_switches = s.key_switches,
                           .decompositions = s.decompositions,
                           .products = s.pt_products,
                           .plaintext_bytes = s.plaintext_bytes,
                           .memory = prog_memory(p),
                           .ns = cost_prog_times(p)};
}

/* ---- text ----------------------------------------------------------------------------------- */

static void print_place(FILE *to, struct loc loc)
{
    if (loc.line) {
        const char *path = diag_file_name(loc.file), *slash = strrchr(path, '/');
        fprintf(to, " (%s:%u)", slash ? slash + 1 : path, (unsigned)loc.line);
    }
}

static void print_bootstraps(FILE *to, const struct layer_rows *rows)
{
    const char *title = "\nbootstraps\n";
    for (uint32_t i = 0; i < rows->len; i++) {
        const struct layer_row *r = &rows->row[i];
        if (!r->bootstrap) {
            continue;
        }
        fprintf(to, "%s  after %s", title, r->layer);
        print_place(to, r->loc);
        fprintf(to, ": %u ciphertext%s, level %d to %d, %.3f s\n", (unsigned)r->num_ct,
                r->num_ct == 1 ? "" : "s", (int)r->level_in, (int)r->level_out,
                cost_once(r->ns) * 1e-9);
        title = "";
    }
}

/* The same table as `NAME run --layers` prints, but for the measured time */
static void print_rows(FILE *to, const struct layer_rows *rows, const struct prog_memory *m)
{
    int width = 5;
    double total = 0;
    for (uint32_t i = 0; i < rows->len; i++) {
        int len = (int)strlen(rows->row[i].layer) + (rows->row[i].bootstrap ? 10 : 0);
        width = len > width ? len : width;
        total += cost_once(rows->row[i].ns);
    }
    fprintf(to, "\n%-*s %5s %9s %5s %9s %7s %6s %6s %6s %6s %6s %6s %6s %5s %3s\n", width, "layer",
            "line", "ms", "%", "several", "level", "scale", "rot", "keysw", "decomp", "prod",
            "offs", "period", "fill", "ct");
    for (uint32_t i = 0; i < rows->len; i++) {
        const struct layer_row *r = &rows->row[i];
        char level[32];
        snprintf(level, sizeof level, "%d>%d", (int)r->level_in, (int)r->level_out);
        fprintf(to, "%s%-*s %5u %9.2f %5.1f %9.2f %7s %6.1f %6u %6u %6u %6u", r->layer,
                width - (int)strlen(r->layer), r->bootstrap ? " bootstrap" : "",
                (unsigned)r->loc.line, cost_once(r->ns) * 1e-6,
                total > 0 ? 100 * cost_once(r->ns) / total : 0, cost_served(r->ns, m) * 1e-6, level,
                r->scale_bits, (unsigned)r->rotations, (unsigned)r->key_switches,
                (unsigned)r->decompositions, (unsigned)r->pt_products);
        if (r->bootstrap) {
            fprintf(to, " %6s %6s %5s %3u\n", "", "", "", (unsigned)r->num_ct);
        } else {
            fprintf(to, " %6u %6u %4.0f%% %3u\n", (unsigned)r->offsets, (unsigned)r->period,
                    100 * r->fill, (unsigned)r->num_ct);
        }
    }
}

static void print_keys(FILE *to, const struct prog *p, struct arena *a)
{
    fprintf(to, "\nkeys\n");
    for (uint32_t kind = 0; kind < NUM_KEY_KINDS; kind++) {
        for (int32_t level = (int32_t)p->params.num_q; level >= 0; level--) {
            uint32_t count = 0;
            struct str list;
            str_init(&list, a);
            uint64_t bytes = 0;
            for (uint32_t i = 0; i < p->num_keys; i++) {
                const struct key_spec *k = &p->keys[i];
                if (k->kind == (enum key_kind)kind && k->level == level) {
                    bytes = key_limbs(&p->params, k) * limb_bytes(p);
                    str_addf(&list, "%s%" PRId64, count++ ? " " : "", k->by);
                }
            }
            if (count > 0) {
                fprintf(to, "  %-11s level %-2d  %3u x %10s on disk, %10s if all is kept%s%s\n",
                        key_kind_name((enum key_kind)kind), (int)level, (unsigned)count,
                        bytes_text(a, bytes), bytes_text(a, 2 * bytes),
                        kind == KEY_KIND_ROTATE || kind == KEY_KIND_RAISED ? ": by " : "",
                        kind == KEY_KIND_ROTATE || kind == KEY_KIND_RAISED ? list.s : "");
            }
        }
    }
}

static void print_totals(FILE *to, const char *name, const struct totals *t, struct arena *a)
{
    fprintf(to,
            "%-12s %10" PRIu64 " %12" PRIu64 " %14" PRIu64 " %10" PRIu64
            " %12s %12s %12s %8.3f s %8.3f s\n",
            name, t->rotations, t->key_switches, t->decompositions, t->products,
            bytes_text(a, t->plaintext_bytes), bytes_text(a, t->memory.least),
            bytes_text(a, t->memory.all), cost_once(t->ns) * 1e-9,
            cost_served(t->ns, &t->memory) * 1e-9);
}

/* Memory: of one image, and with all kept */
static void print_comparison(FILE *to, const struct prog *p, struct beside beside, struct arena *a)
{
    struct totals chosen = totals_of(p);
    fprintf(to, "\n%-12s %10s %12s %14s %10s %12s %12s %12s %10s %10s\n", "layout", "rotations",
            "key switches", "decompositions", "products", "plaintexts", "one image", "all kept",
            "time", "several");
    print_totals(to, "search", &chosen, a);
    if (beside.p) {
        struct totals other = totals_of(beside.p);
        print_totals(to, "multiplexed", &other, a);
    } else {
        fprintf(to, "%-12s no plan: %s\n", "multiplexed", beside.why);
    }
}

void estimate_text(FILE *to, const struct prog *p, struct beside beside)
{
    struct arena *a = arena_new();
    struct layer_rows rows = c_layer_rows(p, estimate_node_ns(p, a), a);
    struct file_bytes f = estimate_files(p);
    report_plan(to, p);
    fprintf(to,
            "files       keys %" PRIu64 " bytes, image %" PRIu64 " bytes, result %" PRIu64
            " bytes\n",
            f.keys, f.image, f.result);
    if (weights_are_invented(p->weights)) {
        fprintf(
            to,
            "weights     none: the file is not there, every weight is taken to be different from "
            "zero\n");
    }
    struct prog_memory memory = prog_memory(p);
    print_bootstraps(to, &rows);
    print_rows(to, &rows, &memory);
    print_keys(to, p, a);
    if (beside.p || beside.why) {
        print_comparison(to, p, beside, a);
    }
    arena_free(a);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *whole(uint64_t x)
{
    return json_integer((json_int_t)x);
}

static void add_times(json_t *o, struct node_ns ns, const struct prog_memory *m)
{
    json_object_set_new(o, "seconds", json_real(cost_once(ns) * 1e-9));
    json_object_set_new(o, "seconds_of_several", json_real(cost_served(ns, m) * 1e-9));
}

static json_t *row_json(const struct layer_row *r, const struct prog_memory *m)
{
    json_t *o = json_object();
    json_object_set_new(o, "layer", json_string(r->layer));
    json_object_set_new(o, "line", whole(r->loc.line));
    json_object_set_new(o, "bootstrap", json_boolean(r->bootstrap));
    add_times(o, r->ns, m);
    json_object_set_new(o, "level_in", json_integer(r->level_in));
    json_object_set_new(o, "level_out", json_integer(r->level_out));
    json_object_set_new(o, "scale_bits", json_real(r->scale_bits));
    json_object_set_new(o, "rotations", whole(r->rotations));
    json_object_set_new(o, "key_switches", whole(r->key_switches));
    json_object_set_new(o, "decompositions", whole(r->decompositions));
    json_object_set_new(o, "plaintext_products", whole(r->pt_products));
    json_object_set_new(o, "ciphertexts", whole(r->num_ct));
    if (!r->bootstrap) {
        json_object_set_new(o, "offsets", whole(r->offsets));
        json_object_set_new(o, "period", whole(r->period));
        json_object_set_new(o, "slot_fill", json_real(r->fill));
    }
    return o;
}

static json_t *rows_json(const struct layer_rows *rows, const struct prog_memory *m,
                         bool only_bootstraps)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < rows->len; i++) {
        if (rows->row[i].bootstrap || !only_bootstraps) {
            json_array_append_new(list, row_json(&rows->row[i], m));
        }
    }
    return list;
}

static json_t *keys_json(const struct prog *p)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->num_keys; i++) {
        const struct key_spec *k = &p->keys[i];
        uint64_t bytes = key_limbs(&p->params, k) * limb_bytes(p);
        json_t *o = json_object();
        json_object_set_new(o, "kind", json_string(key_kind_name(k->kind)));
        json_object_set_new(o, "rotation", json_integer(k->by));
        json_object_set_new(o, "level", json_integer(k->level));
        json_object_set_new(o, "disk_bytes", whole(BLOCK + bytes));
        json_object_set_new(o, "memory_bytes", whole(2 * bytes));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *totals_json(const struct prog *p)
{
    struct totals t = totals_of(p);
    json_t *o = json_object();
    json_object_set_new(o, "rotations", whole(t.rotations));
    json_object_set_new(o, "key_switches", whole(t.key_switches));
    json_object_set_new(o, "decompositions", whole(t.decompositions));
    json_object_set_new(o, "plaintext_products", whole(t.products));
    json_object_set_new(o, "plaintext_bytes", whole(t.plaintext_bytes));
    json_object_set_new(o, "memory_one_image_bytes", whole(t.memory.least));
    json_object_set_new(o, "memory_server_bytes", whole(t.memory.usual));
    json_object_set_new(o, "memory_all_kept_bytes", whole(t.memory.all));
    add_times(o, t.ns, &t.memory);
    return o;
}

static void add_ring(json_t *o, const struct prog *p, const struct prog_stats *s)
{
    struct boot_summary boot = boot_summary(p);
    json_object_set_new(o, "n", whole((uint64_t)1 << p->params.log_n));
    json_object_set_new(o, "log2_qp", json_real(s->log2_qp));
    json_object_set_new(o, "most_log2_qp", json_real(params_max_log2_qp(p->params.log_n)));
    json_object_set_new(o, "lambda", json_real(p->params.lambda_bits));
    json_object_set_new(o, "insecure", json_boolean(p->params.insecure));
    json_object_set_new(o, "levels", whole(s->depth));
    json_object_set_new(o, "primes", whole(p->params.num_q));
    json_object_set_new(o, "special_primes", whole(p->params.num_p));
    json_object_set_new(o, "bootstraps", whole(boot.bootstraps));
    if (boot.bootstraps) {
        json_object_set_new(o, "boot_level", whole(p->params.boot_level));
        json_object_set_new(o, "boot_log2_failure", json_real(boot.log2_failure));
        json_object_set_new(o, "sparse_weight", whole(p->params.sparse_weight));
        json_object_set_new(o, "sparse_log2_modulus", json_real(boot.sparse_bits));
    }
}

/* agreement: as a share; null where it was not judged */
static void add_precision(json_t *o, const struct prog *p)
{
    bool judged = p->agreement.images > 0;
    json_object_set_new(o, "precision_bits", whole(precision_bits(p)));
    if (boot_precision_bits(p)) {
        json_object_set_new(o, "boot_precision_bits", whole(boot_precision_bits(p)));
    }
    json_object_set_new(o, "agreement", judged ? json_real(1 - p->agreement.changed) : json_null());
    json_object_set_new(o, "agreement_images", whole(p->agreement.images));
    json_object_set_new(o, "error_bound",
                        p->error_bound > 0 ? json_real(p->error_bound) : json_null());
}

/* How the least is made up */
static json_t *memory_json(const struct prog_memory *m)
{
    json_t *o = json_object();
    json_object_set_new(o, "key_bytes", whole(m->keys));
    json_object_set_new(o, "plaintext_bytes", whole(m->plaintexts));
    json_object_set_new(o, "register_bytes", whole(m->registers));
    json_object_set_new(o, "other_bytes", whole(m->other));
    return o;
}

char *estimate_json(const struct prog *p, struct beside beside)
{
    struct arena *a = arena_new();
    struct layer_rows rows = c_layer_rows(p, estimate_node_ns(p, a), a);
    struct prog_stats s = prog_stats(p);
    struct file_bytes f = estimate_files(p);
    struct prog_memory memory = prog_memory(p);
    json_t *o = json_object(), *totals = totals_json(p);
    json_object_set_new(o, "model", json_string(p->model.name));
    json_object_set_new(o, "weights_invented", json_boolean(weights_are_invented(p->weights)));
    add_ring(o, p, &s);
    add_precision(o, p);
    json_object_update(o, totals);
    json_object_set_new(o, "plaintexts", whole(s.plaintexts));
    json_object_set_new(o, "num_keys", whole(p->num_keys));
    json_object_set_new(o, "key_bytes", whole(f.keys));
    json_object_set_new(o, "max_memory_bytes", whole(memory.budget));
    json_object_set_new(o, "one_image", memory_json(&memory));
    json_object_set_new(o, "ciphertext_bytes_in", whole(f.image));
    json_object_set_new(o, "ciphertext_bytes_out", whole(f.result));
    json_object_set_new(o, "register_bytes", whole(s.register_bytes));
    json_object_set_new(o, "bootstrap_places", rows_json(&rows, &memory, true));
    json_object_set_new(o, "layers", rows_json(&rows, &memory, false));
    json_object_set_new(o, "keys", keys_json(p));
    if (beside.p || beside.why) {
        json_t *layouts = json_object();
        json_object_set(layouts, "search", totals);
        json_object_set_new(layouts, "multiplexed",
                            beside.p ? totals_json(beside.p)
                                     : json_pack("{s:s}", "error", beside.why));
        json_object_set_new(o, "layouts", layouts);
    }
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(totals);
    json_decref(o);
    arena_free(a);
    if (!text) {
        diag_fatal(NO_LOC, "the estimate cannot be written as JSON");
    }
    return text;
}

/* ---- the command ---------------------------------------------------------------------------- */

static struct prog *plan(struct driver *d, bool choose)
{
    uint32_t next;
    struct prog *p = driver_load(d, &next);
    if (d->cli->images) {
        images_open(&p->model, d->cli->images, 0);
    }
    p = choose ? driver_compile(d, p, next) : driver_run(d, p, next, driver_last_pass(STAGE_CKKS));
    p->max_memory = d->cli->max_memory;
    return p;
}

struct attempt {
    struct driver d;
    struct prog *p;
};

static void plan_other(void *ctx)
{
    struct attempt *t = ctx;
    t->p = plan(&t->d, false);
}

/* The text of the first error in what was said */
static const char *first_error(struct arena *a, const char *said)
{
    static const char mark[] = "error: ";
    const char *at = strstr(said, mark);
    at = at ? at + sizeof mark - 1 : said;
    return arena_strndup(a, at, strcspn(at, "\n"));
}

/* That this layout cannot be planned says something about the layout, and nothing about the model. */
static struct beside plan_beside(const struct cli *c, struct arena *a)
{
    struct cli multiplexed = *c;
    multiplexed.opts.layout = LAYOUT_MULTIPLEXED;
    struct attempt *t = arena_alloc(a, sizeof *t);
    *t = (struct attempt){.d = driver_open(&multiplexed, a)};
    const char *said;
    if (!diag_try(a, plan_other, t, &said)) {
        return (struct beside){NULL, first_error(a, said)};
    }
    return (struct beside){t->p, NULL};
}

int cmd_estimate(const struct cli *c)
{
    struct arena *a = arena_new();
    struct driver d = driver_open(c, a);
    struct prog *p = plan(&d, true);
    struct beside beside = {0};
    memory_check(p);
    if (c->compare) {
        beside = plan_beside(d.cli, a);
    }
    if (c->json) {
        char *text = estimate_json(p, beside);
        puts(text);
        free(text);
    } else {
        estimate_text(stdout, p, beside);
    }
    driver_report(&d, p);
    arena_free(a);
    return 0;
}
