/* A whole checkpoint: config and container, opened, checked and decoded.
 *
 * The input is "config.json, a NUL, file".  The file is a GGUF as it is, or a safetensors header
 * (JSON, a NUL) and data, which is continued until it is as long as the header says. */
#include "fuzz.h"
#include "fuzz_folder.h"
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

enum { DATA_MAX = 1 << 18 };

/* Where the data ends by the header; 0 when it does not say, or says too much. */
static size_t data_end(const uint8_t *header, size_t len)
{
    cJSON *tree = NULL;
    uint64_t end = 0, v;
    glmq_error err;

    if (glmq_json_parse(&tree, (const char *)header, len, 0, &err)) return 0;
    for (const cJSON *a = tree->child; a; a = a->next) {
        const cJSON *offsets = glmq_json_get(a, "data_offsets");
        if (glmq_json_u64(cJSON_GetArrayItem(offsets, 1), &v) && v > end) end = v;
    }
    cJSON_Delete(tree);
    return end <= DATA_MAX ? (size_t)end : 0;
}

static void put_safetensors(const uint8_t *data, size_t len)
{
    const uint8_t *cut = len ? memchr(data, 0, len) : NULL;
    const uint64_t header = cut ? (uint64_t)(cut - data) : len;
    const size_t have = cut ? len - (size_t)header - 1 : 0;
    const size_t want = data_end(data, (size_t)header);
    const size_t total = have > want ? have : want;
    uint8_t *file = malloc(8 + (size_t)header + total + 1);

    if (!file) abort();
    memcpy(file, &header, 8);
    if (header) memcpy(file + 8, data, (size_t)header);
    for (size_t i = 0; i < total; i++) /* over and over again, or a fine scale */
        file[8 + header + i] = have ? cut[1 + i % have] : 0x38;
    fuzz_put("model.safetensors", file, 8 + (size_t)header + total);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *cut = len ? memchr(data, 0, len) : NULL;
    const size_t config = cut ? (size_t)(cut - data) : len;
    const uint8_t *file = cut ? cut + 1 : data + len;
    const size_t rest = (size_t)(data + len - file);

    fuzz_clear();
    if (config) fuzz_put("config.json", data, config);
    if (rest >= 4 && memcmp(file, "GGUF", 4) == 0)
        fuzz_put("model.gguf", file, rest);
    else
        put_safetensors(file, rest);
    fuzz_open_checkpoint(0);
    return 0;
}
