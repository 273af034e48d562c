/* SPDX-License-Identifier: Apache-2.0 */
#include "app.h"

#include <math.h>

void rt_app_top(const double *values, uint32_t num_values, uint32_t count, uint32_t *indices)
{
    uint32_t filled = 0;
    for (uint32_t i = 0; i < num_values; i++) {
        uint32_t at = filled;
        while (at > 0 && values[i] > values[indices[at - 1]])
            at--;
        if (at == count)
            continue;
        if (filled < count)
            filled++;
        for (uint32_t j = filled - 1; j > at; j--)
            indices[j] = indices[j - 1];
        indices[at] = i;
    }
}

int rt_app_decimals(const struct rt_interface *model)
{
    if (!(model->error_bound > 0))
        return 3;
    double decimals = floor(-log10(model->error_bound));
    return decimals < 0 ? 0 : decimals > 6 ? 6 : (int)decimals;
}

double rt_app_rounded(const struct rt_interface *model, double value)
{
    double unit = pow(10, rt_app_decimals(model));
    if (fabs(value) > 1e9) /* no answer of a working network; whole in a double in any case */
        return nearbyint(value);
    double rounded = nearbyint(value * unit) / unit;
    return rounded == 0 ? 0 : rounded; /* no "-0" */
}

const char *rt_app_label(const struct rt_interface *model, uint32_t index, char buffer[16])
{
    if (model->labels)
        return model->labels[index];
    snprintf(buffer, 16, "%u", index);
    return buffer;
}

json_t *rt_app_scores_json(const struct rt_interface *model, const double *values,
                           const uint32_t *indices, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < count; i++) {
        char buffer[16];
        json_array_append_new(array, json_pack("{s:i, s:s, s:f}", "class", (int)indices[i], "label",
                                               rt_app_label(model, indices[i], buffer), "score",
                                               rt_app_rounded(model, values[indices[i]])));
    }
    return array;
}

json_t *rt_app_values_json(const struct rt_interface *model, const double *values)
{
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < model->num_outputs; i++)
        json_array_append_new(array, json_real(rt_app_rounded(model, values[i])));
    return array;
}
