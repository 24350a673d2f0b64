/* Recipes that are compiled in.  --recipe takes their word where it takes a file; each also
 * lies as a file under samples/recipes, to start one's own from. */
#include "presets.h"
#include <string.h>

static const glmq_preset presets[] = {
    { "experts-only", "only the routed experts change their encoding",
      "{\"rules\": [\n"
      "  {\"role\": \"*\", \"to\": \"same\"},\n"
      "  {\"role\": \"experts.*\", \"to\": \"default\"}\n"
      "]}\n" },
    { "keep-attention", "attention and the sparse indexer keep their encoding",
      "{\"rules\": [\n"
      "  {\"role\": \"attention.*\", \"to\": \"same\"},\n"
      "  {\"role\": \"indexer.*\", \"to\": \"same\"}\n"
      "]}\n" },
    { "keep-shared", "the shared experts and the dense layers keep their encoding",
      "{\"rules\": [\n"
      "  {\"role\": \"shared.*\", \"to\": \"same\"},\n"
      "  {\"role\": \"mlp.*\", \"to\": \"same\"}\n"
      "]}\n" },
};

const glmq_preset *glmq_preset_at(size_t i)
{
    return i < sizeof presets / sizeof *presets ? &presets[i] : NULL;
}

const glmq_preset *glmq_preset_find(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}
