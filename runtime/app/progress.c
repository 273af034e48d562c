/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void rt_app_progress_open(struct rt_app_progress *p, const struct rt_app *app)
{
    const char *term = getenv("TERM");
    *p = (struct rt_app_progress){0};
    p->shown = !(app->given & RT_APP_QUIET) && isatty(STDERR_FILENO) &&
               !(term && strcmp(term, "dumb") == 0);
    for (uint32_t i = 0; app->program && i < app->program->num_layers; i++)
        p->predicted_total += 1e-9 * app->program->layers[i].predicted_ns;
}

void rt_app_progress_step(struct rt_app_progress *p, const char *what)
{
    p->start = 0;
    if (p->shown)
        fprintf(stderr, "\r\033[K%s ...", what);
}

/* The prediction is for one thread of another machine; what was measured replaces it as soon as
 * there is enough of it. */
static double seconds_left(double done, double elapsed, double predicted_total)
{
    if (done >= 0.05)
        return elapsed * (1 - done) / done;
    return predicted_total * (1 - done);
}

void rt_app_progress_text(char *out, size_t size, const char *layer, double done, double elapsed,
                          double predicted_total)
{
    char name[25];
    done = done >= 0 && done <= 1 ? done : 0;
    snprintf(name, sizeof name, "%s", layer);
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    double left = ceil(seconds_left(done, elapsed, predicted_total));
    if (left < 60)
        snprintf(out, size, "%3.0f%%  %-24s  %.0f s left", 100 * done, name, left);
    else
        snprintf(out, size, "%3.0f%%  %-24s  %.0f min %02.0f s left", 100 * done, name,
                 floor(left / 60), fmod(left, 60));
}

void rt_app_progress_layer(void *progress, const struct rt_layer *layer, double done)
{
    struct rt_app_progress *p = progress;
    char text[96];
    rt_app_layers_next(&p->layers, layer);
    if (!p->shown)
        return;
    if (p->start <= 0)
        p->start = rt_app_seconds();
    rt_app_progress_text(text, sizeof text, layer->name, done, rt_app_seconds() - p->start,
                         p->predicted_total);
    fprintf(stderr, "\r\033[K%s", text);
}

void rt_app_progress_clear(struct rt_app_progress *p)
{
    p->start = 0;
    if (p->shown)
        fputs("\r\033[K", stderr);
}
