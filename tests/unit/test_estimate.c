/* SPDX-License-Identifier: Apache-2.0 */
/* Estimates: rows that add up to the program's counts, the JSON form, plans without weights. */
#include "backends.h"
#include "front_kit.h"
#include "passes.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char lenet[] = "examples/lenet_mnist/model.yaml";

static struct prog *planned(struct prog *p, enum layout_how how)
{
    struct opts o = {.layout = how};
    return pipeline_run(p, 0, num_passes - 1, &o, NULL, NULL);
}

static json_int_t whole(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    cr_assert(json_is_integer(x), "%s", key);
    return json_integer_value(x);
}

static double real(const json_t *o, const char *key)
{
    const json_t *x = json_object_get(o, key);
    cr_assert(json_is_real(x), "%s", key);
    return json_real_value(x);
}

static json_int_t sum(const json_t *list, const char *key)
{
    json_int_t all = 0;
    cr_assert(json_is_array(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        all += whole(json_array_get(list, i), key);
    }
    return all;
}

static json_t *estimate(const struct prog *p, struct prog *beside)
{
    char *text = estimate_json(p, (struct beside){.p = beside});
    json_error_t error;
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    cr_assert(o, "%s in %s", error.text, text);
    free(text);
    return o;
}

Test(estimate, rows_hold_all_of_the_work)
{
    struct arena *a = arena_new();
    struct prog *p = planned(model_load(a, lenet), LAYOUT_SEARCH);
    struct prog_stats s = prog_stats(p);
    struct layer_rows rows = c_layer_rows(p, estimate_node_ns(p, a), a);
    uint32_t rotations = 0, switches = 0, decompositions = 0, products = 0;
    double ns = 0, made = 0;
    for (uint32_t i = 0; i < rows.len; i++) {
        const struct layer_row *r = &rows.row[i];
        rotations += r->rotations;
        switches += r->key_switches;
        decompositions += r->decompositions;
        products += r->pt_products;
        ns += r->ns.kept;
        made += cost_once(r->ns) - r->ns.kept;
        cr_expect(r->key_switches >= r->rotations, "%s", r->layer);
        cr_expect(r->level_in >= r->level_out && r->level_out >= 0, "%s", r->layer);
        cr_expect(r->fill > 0 && r->fill <= 1, "%s: %g", r->layer, r->fill);
        cr_expect(r->offsets <= r->pt_products && (r->period > 0) == (r->pt_products > 0), "%s",
                  r->layer);
    }
    cr_expect_eq(rows.len, 7, "four linear layers and three squares, not %u", rows.len);
    cr_expect_str_eq(rows.row[0].layer, "conv1");
    cr_expect_eq(rows.row[0].loc.line, 9);
    cr_expect(rows.row[0].offsets > 1 && rows.row[0].offsets <= 64, "%u", rows.row[0].offsets);
    cr_expect_eq(rotations, s.rotations);
    cr_expect_eq(decompositions, s.decompositions);
    cr_expect_eq(switches, s.key_switches);
    cr_expect_eq(products, s.pt_products);
    cr_expect_float_eq(ns, cost_prog(p), 1e-6 * ns);
    struct node_ns times = cost_prog_times(p);
    struct prog_memory memory = prog_memory(p);
    cr_expect_float_eq(ns, times.kept, 1e-6 * ns);
    cr_expect_float_eq(made, times.keys + times.plaintexts, 1e-6 * ns);
    cr_expect(times.keys > 0 && times.plaintexts > 0);
    cr_expect(memory.kept_keys == 1 && memory.kept_plaintexts == 1, "a small network is kept");
    cr_expect_float_eq(cost_served(times, &memory), ns, 1e-6 * ns);
    p->max_memory = memory.least + (16 << 20) + prog_stats(p).key_bytes;
    memory = prog_memory(p);
    cr_expect(memory.kept_keys == 1 && memory.kept_plaintexts == 0,
              "halves of keys are kept first");
    cr_expect_float_eq(cost_served(times, &memory), ns + times.plaintexts, 1e-6 * ns);
    p->max_memory = memory.least;
    memory = prog_memory(p);
    cr_expect_float_eq(cost_served(times, &memory), cost_once(times), 1e-6 * ns);
    for (uint32_t i = 0; i < rows.num_steps; i++) {
        cr_expect(rows.step[i].row < rows.len && rows.step[i].first <= rows.step[i].last);
        cr_expect(i == 0 || rows.step[i].first > rows.step[i - 1].last);
    }
    arena_free(a);
}

Test(estimate, json_adds_up)
{
    struct arena *a = arena_new();
    struct prog *p = planned(model_load(a, lenet), LAYOUT_SEARCH);
    struct prog *beside = planned(model_load(a, lenet), LAYOUT_MULTIPLEXED);
    json_t *o = estimate(p, beside);
    const json_t *layers = json_object_get(o, "layers"), *keys = json_object_get(o, "keys");
    cr_expect_str_eq(json_string_value(json_object_get(o, "model")), "lenet_mnist");
    cr_expect(json_is_false(json_object_get(o, "weights_invented")));
    cr_expect_eq(whole(o, "n"), (json_int_t)1 << p->params.log_n);
    cr_expect(real(o, "log2_qp") <= real(o, "most_log2_qp"));
    cr_expect_eq(sum(layers, "rotations"), whole(o, "rotations"));
    cr_expect_eq(sum(layers, "key_switches"), whole(o, "key_switches"));
    cr_expect_eq(sum(layers, "plaintext_products"), whole(o, "plaintext_products"));
    cr_expect_eq((json_int_t)json_array_size(keys), whole(o, "num_keys"));
    cr_expect_eq(sum(keys, "disk_bytes") + 128, whole(o, "key_bytes"));
    const json_t *one = json_object_get(o, "one_image");
    json_int_t least = whole(o, "memory_one_image_bytes"), all = whole(o, "memory_all_kept_bytes");
    cr_expect_eq(whole(one, "key_bytes") + 128, whole(o, "key_bytes"));
    cr_expect_eq(whole(one, "plaintext_bytes") % (1 << 20), 0);
    cr_expect_eq(whole(one, "key_bytes") + whole(one, "plaintext_bytes") +
                     whole(one, "register_bytes") + whole(one, "other_bytes"),
                 least);
    cr_expect_eq(least - (json_int_t)prog_stats(p).plaintext_limb_bytes +
                     sum(keys, "memory_bytes") / 2 + whole(o, "plaintext_bytes"),
                 all);
    cr_expect_eq(whole(o, "memory_server_bytes"), all, "all of it fits");
    cr_expect_eq(whole(o, "bootstraps"), 0);
    cr_expect_eq(json_array_size(json_object_get(o, "bootstrap_places")), 0);
    const json_t *layouts = json_object_get(o, "layouts"),
                 *other = json_object_get(layouts, "multiplexed");
    cr_expect_eq(whole(json_object_get(layouts, "search"), "key_switches"),
                 whole(o, "key_switches"));
    cr_expect(real(other, "seconds") >= real(o, "seconds"), "the search is never the slower one");
    cr_expect(whole(other, "key_switches") > 0 && whole(other, "plaintext_bytes") > 0);
    json_decref(o);
    arena_free(a);
}

Test(estimate, a_layout_without_a_plan_says_why)
{
    struct arena *a = arena_new();
    struct prog *p = planned(model_load(a, lenet), LAYOUT_SEARCH);
    char *text = estimate_json(p, (struct beside){.why = "no ring"});
    json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *other = json_object_get(json_object_get(o, "layouts"), "multiplexed");
    cr_expect_str_eq(json_string_value(json_object_get(other, "error")), "no ring");
    cr_expect(whole(json_object_get(json_object_get(o, "layouts"), "search"), "key_switches") > 0);
    json_decref(o);
    free(text);
    char *table = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&table, &len);
    estimate_text(to, p, (struct beside){.why = "no ring"});
    fclose(to);
    cr_expect_not_null(strstr(table, "\nmultiplexed  no plan: no ring\n"), "%s", table);
    free(table);
    arena_free(a);
}

/* ---- without weights ------------------------------------------------------------------------- */

#define HEAD "name: t\ninput: {shape: [1, 8, 8]}\nweights: nowhere/nothing.safetensors\nlayers:\n"

struct job {
    const char *text;
    struct prog *p;
};

static void run_plan(struct arena *a, void *ctx)
{
    struct job *j = ctx;
    j->p = model_parse_plan(a, "plan.yaml", j->text, strlen(j->text));
}

static const char *refused(struct arena *a, const char *text)
{
    struct job j = {.text = text};
    const char *said;
    bool bug;
    cr_assert(front_catch(a, run_plan, &j, &bug, &said), "accepted:\n%s", text);
    cr_assert_not(bug, "%s", said);
    return said;
}

Test(estimate, a_plan_invents_what_the_file_would_hold)
{
    static const char text[] =
        HEAD "  - {name: c, op: conv2d, kernel: 3, out_channels: 4, padding: 1}\n"
             "  - {name: b, op: batch_norm}\n"
             "  - {name: p, op: poly, degree: 2, coeff_order: channel}\n"
             "  - {name: d, op: conv2d, kernel: [1, 3], out_channels: 8, groups: depthwise, bias: "
             "false}\n"
             "  - {name: q, op: poly, coefficients: [0, 1, 1]}\n"
             "  - {name: g, op: global_avg_pool}\n"
             "  - {name: f, op: linear, out_features: 5}\n";
    struct arena *a = arena_new();
    struct job j = {.text = text};
    const char *said = "";
    bool bug;
    cr_assert_not(front_catch(a, run_plan, &j, &bug, &said), "%s", said);
    cr_assert(weights_are_invented(j.p->weights));
    cr_expect_eq(j.p->model.num_outputs, 5);
    const struct weights_tensor *w = weights_find(j.p->weights, "c.weight");
    cr_assert(w && w->rank == 4 && w->elements == 36);
    for (uint64_t i = 0; i < w->elements; i++) {
        double v = weights_value(w, i);
        cr_expect(v != 0 && v >= -1. / 3 && v <= 1. / 3, "%g", v);
    }
    const struct weights_tensor *coeff = weights_find(j.p->weights, "p.coeff");
    cr_assert(coeff && coeff->dims[0] == 4 && coeff->dims[1] == 3);
    cr_expect(weights_value(weights_find(j.p->weights, "b.running_var"), 3) > 0);
    cr_expect_null(weights_find(j.p->weights, "d.bias"));
    cr_expect_null(weights_find(j.p->weights, "q.coeff"));
    json_t *o = estimate(planned(j.p, LAYOUT_SEARCH), NULL);
    cr_expect(json_is_true(json_object_get(o, "weights_invented")));
    cr_expect(whole(o, "key_bytes") > 0 && real(o, "seconds") > 0);
    json_decref(o);
    arena_free(a);
}

Test(estimate, a_plan_needs_the_sizes)
{
    struct arena *a = arena_new();
    cr_expect(strstr(refused(a, HEAD "  - {name: c, op: conv2d, kernel: 3}\n"),
                     "'out_channels' is not known"));
    cr_expect(strstr(refused(a, HEAD "  - {name: c, op: conv2d, out_channels: 3}\n"),
                     "'kernel' is not known"));
    cr_expect(strstr(refused(a, HEAD "  - {name: f, op: flatten}\n  - {name: l, op: linear}\n"),
                     "'out_features' is not known"));
    cr_expect(strstr(refused(a, HEAD "  - {name: p, op: poly}\n"), "'degree' is not known"));
    cr_expect(
        strstr(refused(a, HEAD "  - {name: c, op: conv2d, kernel: 1000, out_channels: 65536}\n"),
               "too large"));
    const char *said;
    cr_expect_null(front_model(a, "", HEAD "  - {name: p, op: poly, degree: 2}\n", &said),
                   "only plans do without the file");
    arena_free(a);
}

Test(estimate, the_same_program_with_and_without_weights)
{
    static const char layers[] =
        "  - {name: c, op: conv2d, kernel: 3, out_channels: 4, padding: 1}\n"
        "  - {name: s, op: square}\n"
        "  - {name: g, op: global_avg_pool}\n"
        "  - {name: f, op: linear, out_features: 5}\n";
    static const struct front_tensor tensors[] = {{"c.weight", 4, {4, 1, 3, 3}},
                                                  {"c.bias", 1, {4}},
                                                  {"f.weight", 2, {5, 4}},
                                                  {"f.bias", 1, {5}}};
    struct arena *a = arena_new();
    const char *folder = front_weights("w.safetensors", tensors, 4), *said = "";
    struct prog *with = front_model(
        a, folder,
        arena_printf(a, "name: t\ninput: {shape: [1, 8, 8]}\nweights: w.safetensors\nlayers:\n%s",
                     layers),
        &said);
    cr_assert(with, "%s", said);
    struct job j = {.text = arena_printf(a, HEAD "%s", layers)};
    run_plan(a, &j);
    json_t *x = estimate(planned(with, LAYOUT_SEARCH), NULL),
           *y = estimate(planned(j.p, LAYOUT_SEARCH), NULL);
    json_object_del(x, "weights_invented");
    json_object_del(y, "weights_invented");
    cr_expect(json_equal(x, y));
    json_decref(x);
    json_decref(y);
    arena_free(a);
}
