/* SPDX-License-Identifier: Apache-2.0 */
#include "compiler.h"

#include <string.h>
#include <yaml.h>

/*
 * libyaml's events become a tree. Every limit is checked while the tree grows, so that what is
 * refused was never built. Failures are collected in the loader and reported after libyaml's memory
 * is freed: a diagnostics handler may jump out of here.
 */
struct loader {
    yaml_parser_t parser;
    struct arena *a;
    struct map anchors; /* name -> struct yaml *, entered when the node is complete */
    uint32_t file;
    uint32_t nodes;
    const char *problem, *hint;
    struct loc where;
};

static struct yaml *fail(struct loader *l, struct loc where, const char *problem, const char *hint)
{
    l->problem = problem;
    l->hint = hint;
    l->where = where;
    return NULL;
}

static struct loc place(const struct loader *l, yaml_mark_t m)
{
    return (struct loc){l->file, (uint32_t)m.line + 1, (uint32_t)m.column + 1};
}

/* Of a byte offset, for mistakes that libyaml finds before it counts lines (encoding). */
static struct loc place_of_offset(const struct loader *l, const char *text, size_t len,
                                  size_t offset)
{
    struct loc at = {l->file, 1, 1};
    for (size_t i = 0; i < len && i < offset; i++) {
        if (text[i] == '\n') {
            at.line++;
            at.col = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            at.col++;
        }
    }
    return at;
}

static bool next_event(struct loader *l, yaml_event_t *e)
{
    if (yaml_parser_parse(&l->parser, e)) {
        return true;
    }
    const char *what = l->parser.problem ? l->parser.problem : "cannot be read";
    fail(l, place(l, l->parser.problem_mark),
         arena_printf(l->a, "not valid YAML: %s%s%s", what, l->parser.context ? " " : "",
                      l->parser.context ? l->parser.context : ""),
         NULL);
    return false;
}

static bool count_nodes(struct loader *l, struct loc at, uint32_t n)
{
    if (n > YAML_MAX_NODES - l->nodes) {
        fail(l, at,
             arena_printf(l->a, "more than %d YAML nodes (aliases count as often as they are used)",
                          YAML_MAX_NODES),
             NULL);
        return false;
    }
    l->nodes += n;
    return true;
}

static struct yaml *load_node(struct loader *l, const yaml_event_t *e, uint32_t depth);

/* Elements of a list, or keys and values in turn, until the end event. */
static bool load_children(struct loader *l, struct yaml *y, uint32_t depth)
{
    bool mapping = y->kind == YAML_MAPPING;
    struct yaml **item = NULL, **key = NULL;
    uint32_t num_items = 0, cap_items = 0, num_keys = 0, cap_keys = 0;
    struct map seen;
    map_init(&seen, l->a);
    y->size = 1;
    for (;;) {
        yaml_event_t e;
        if (!next_event(l, &e)) {
            return false;
        }
        if (e.type == YAML_SEQUENCE_END_EVENT || e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            break;
        }
        struct yaml *n = load_node(l, &e, depth + 1);
        yaml_event_delete(&e);
        if (!n) {
            return false;
        }
        y->size += n->size;
        if (!mapping || num_keys > num_items) {
            ARENA_GROW(l->a, item, num_items, cap_items);
            item[num_items++] = n;
            continue;
        }
        if (n->kind != YAML_SCALAR) {
            fail(l, n->loc, "a key must be a word, not a list or a mapping", NULL);
            return false;
        }
        bool is_new;
        uint64_t *line = map_put(&seen, n->text, strlen(n->text), &is_new);
        if (!is_new) {
            fail(l, n->loc, arena_printf(l->a, "key %s is given twice", yaml_describe(l->a, n)),
                 arena_printf(l->a, "the first one is in line %u", (unsigned)*line));
            return false;
        }
        *line = n->loc.line;
        ARENA_GROW(l->a, key, num_keys, cap_keys);
        key[num_keys++] = n;
    }
    y->item = item;
    y->key = key;
    y->len = num_items;
    return true;
}

static struct yaml *load_alias(struct loader *l, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    const uint64_t *found = map_get(&l->anchors, name, strlen(name));
    if (!found) {
        return fail(l, place(l, e->start_mark),
                    arena_printf(l->a, "alias '*%s' has no anchor '&%s' before it", name, name),
                    NULL);
    }
    struct yaml *y = (struct yaml *)(uintptr_t)*found;
    return count_nodes(l, place(l, e->start_mark), y->size) ? y : NULL;
}

static struct yaml *load_scalar(struct loader *l, const yaml_event_t *e, struct yaml *y)
{
    size_t len = e->data.scalar.length;
    if (len > YAML_MAX_SCALAR) {
        return fail(l, y->loc,
                    arena_printf(l->a, "a text of %zu bytes: more than %d are not accepted", len,
                                 YAML_MAX_SCALAR),
                    NULL);
    }
    if (memchr(e->data.scalar.value, 0, len)) {
        return fail(l, y->loc, "a text with a NUL character", NULL);
    }
    y->text = arena_strndup(l->a, (const char *)e->data.scalar.value, len);
    y->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    y->size = 1;
    return y;
}

static struct yaml *load_node(struct loader *l, const yaml_event_t *e, uint32_t depth)
{
    if (e->type == YAML_ALIAS_EVENT) {
        return load_alias(l, e);
    }
    struct yaml *y = arena_alloc(l->a, sizeof *y);
    y->loc = place(l, e->start_mark);
    if (depth > YAML_MAX_DEPTH) {
        return fail(l, y->loc, arena_printf(l->a, "nested deeper than %d levels", YAML_MAX_DEPTH),
                    NULL);
    }
    if (!count_nodes(l, y->loc, 1)) {
        return NULL;
    }
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        y->kind = YAML_SCALAR;
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        y->kind = YAML_LIST;
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        y->kind = YAML_MAPPING;
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    } else {
        return fail(l, y->loc, "not valid YAML here", NULL);
    }
    if (tag) {
        return fail(l, y->loc,
                    arena_printf(l->a, "YAML tags ('%s') are not supported", (const char *)tag),
                    NULL);
    }
    if (y->kind == YAML_SCALAR ? !load_scalar(l, e, y) : !load_children(l, y, depth)) {
        return NULL;
    }
    if (anchor) {
        bool is_new;
        const char *name = arena_strdup(l->a, (const char *)anchor);
        *map_put(&l->anchors, name, strlen(name), &is_new) = (uint64_t)(uintptr_t)y;
    }
    return y;
}

/* Stream start, document start, node, document end, stream end: exactly one document. */
static struct yaml *load_document(struct loader *l)
{
    struct yaml *root = NULL;
    for (;;) {
        yaml_event_t e;
        if (!next_event(l, &e)) {
            return NULL;
        }
        yaml_event_type_t type = e.type;
        struct loc at = place(l, e.start_mark);
        bool content = type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                       type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT;
        if (content) {
            root = load_node(l, &e, 1);
        }
        yaml_event_delete(&e);
        if (content && !root) {
            return NULL;
        }
        if (type == YAML_DOCUMENT_START_EVENT && root) {
            return fail(l, at, "a second YAML document: only one is accepted", NULL);
        }
        if (type == YAML_STREAM_END_EVENT) {
            return root ? root : fail(l, (struct loc){l->file, 1, 1}, "the file is empty", NULL);
        }
    }
}

struct yaml *yaml_parse(struct arena *a, const char *name, const char *text, size_t len)
{
    struct loader l = {.a = a};
    l.file = diag_add_file(name, text, len);
    map_init(&l.anchors, a);
    if (len > YAML_MAX_BYTES) {
        diag_fatal((struct loc){l.file, 1, 1},
                   "a model file of %zu bytes: more than %d are not accepted", len, YAML_MAX_BYTES);
    }
    if (!yaml_parser_initialize(&l.parser)) {
        diag_fatal(NO_LOC, "out of memory");
    }
    yaml_parser_set_encoding(&l.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
    struct yaml *root = load_document(&l);
    if (l.parser.error == YAML_READER_ERROR) {
        l.where = place_of_offset(&l, text, len, l.parser.problem_offset);
    }
    yaml_parser_delete(&l.parser);
    if (!root) {
        diag_error(l.where, "%s", l.problem);
        if (l.hint) {
            diag_hint(l.where, "%s", l.hint);
        }
        diag_check();
    }
    return root;
}

static uint32_t find_key(const struct yaml *map, const char *key)
{
    for (uint32_t i = 0; map && map->kind == YAML_MAPPING && i < map->len; i++) {
        if (strcmp(map->key[i]->text, key) == 0) {
            return i;
        }
    }
    return NONE;
}

struct yaml *yaml_get(const struct yaml *map, const char *key)
{
    uint32_t i = find_key(map, key);
    return i == NONE ? NULL : map->item[i];
}

struct yaml *yaml_get_key(const struct yaml *map, const char *key)
{
    uint32_t i = find_key(map, key);
    return i == NONE ? NULL : map->key[i];
}
