/* What readers make of configs: a sound little checkpoint of each format, with the config of
 * the fuzzer.
 *
 *   byte 0   which checkpoint (arrays below)
 *   byte 1   which reader: 0 detects
 *   then     texts, each ended by NUL: config.json, and what quantizers write beside it, in the
 *            order of `beside`; an empty text is no file */
#include "fuzz.h"
#include "fuzz_folder.h"
#include "codecs/dtype.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const beside[] = { "config.json",          "hf_quant_config.json",
                                      "tq_config.json",       "quantization_config.json",
                                      "quantize_config.json", "model.safetensors.index.json" };

/* Arrays of one 32 x 32 module in each format; "+": the next checkpoint.  Filled with 0x38, a
 * fine scale in most float types; integers that mean columns or shapes have their own. */
#define Q "model.layers.0.self_attn.q_proj"
#define E "model.layers.1.mlp.experts.0.up_proj"

static const struct array {
    const char *name, *dtype;
    int rank;
    unsigned dims[4];
} arrays[] = {
    { Q ".weight", "BF16", 2, { 32, 32 } },
    { "model.layers.1.mlp.gate.e_score_correction_bias", "F32", 1, { 4 } },
    { "model.layers.1.mlp.experts.gate_up_proj", "BF16", 3, { 4, 32, 32 } },
    { "+", "", 0, { 0 } }, /* GPTQ, 4 bits, one group */
    { Q ".qweight", "I32", 2, { 4, 32 } },
    { Q ".qzeros", "I32", 2, { 1, 4 } },
    { Q ".scales", "F16", 2, { 1, 32 } },
    { Q ".g_idx", "I32", 1, { 32 } },
    { E ".qweight", "I32", 2, { 8, 16 } }, /* 8 bits, groups of 16 */
    { E ".qzeros", "I32", 2, { 2, 4 } },
    { E ".scales", "F16", 2, { 2, 16 } },
    { "lm_head.weight", "BF16", 2, { 64, 32 } },
    { "+", "", 0, { 0 } }, /* AWQ */
    { Q ".qweight", "I32", 2, { 32, 4 } },
    { Q ".qzeros", "I32", 2, { 1, 4 } },
    { Q ".scales", "F16", 2, { 1, 32 } },
    { "+", "", 0, { 0 } }, /* compressed-tensors, integers */
    { Q ".weight_packed", "I32", 2, { 32, 4 } },
    { Q ".weight_scale", "BF16", 2, { 32, 1 } },
    { Q ".weight_shape", "I64", 1, { 2 } },
    { Q ".weight_g_idx", "I32", 1, { 32 } },
    { E ".weight_packed", "I32", 2, { 16, 4 } },
    { E ".weight_scale", "BF16", 2, { 16, 2 } },
    { E ".weight_zero_point", "I32", 2, { 2, 2 } },
    { E ".weight_shape", "I64", 1, { 2 } },
    { "+", "", 0, { 0 } }, /* FP8: blocks, channels, tensors */
    { Q ".weight", "F8_E4M3", 2, { 32, 32 } },
    { Q ".weight_scale_inv", "F32", 2, { 2, 2 } },
    { E ".weight", "F8_E4M3", 2, { 16, 32 } },
    { E ".weight_scale", "F32", 2, { 16, 1 } },
    { "model.layers.0.self_attn.k_proj.weight", "F8_E4M3", 2, { 16, 32 } },
    { "model.layers.0.self_attn.k_proj.weight_scale", "F32", 0, { 0 } },
    { "model.layers.0.self_attn.k_proj.input_scale", "F32", 0, { 0 } },
    { "+", "", 0, { 0 } }, /* ModelOpt NVFP4, and FP8 beside it */
    { Q ".weight", "U8", 2, { 32, 16 } },
    { Q ".weight_scale", "F8_E4M3", 2, { 32, 2 } },
    { Q ".weight_scale_2", "F32", 0, { 0 } },
    { Q ".input_scale", "F32", 0, { 0 } },
    { "model.layers.0.self_attn.k_proj.weight", "F8_E4M3", 2, { 16, 32 } },
    { "model.layers.0.self_attn.k_proj.weight_scale", "F32", 0, { 0 } },
    { "model.layers.0.self_attn.k_proj.k_scale", "F32", 0, { 0 } },
    { "+", "", 0, { 0 } }, /* compressed-tensors NVFP4 and MXFP4 */
    { Q ".weight_packed", "U8", 2, { 32, 16 } },
    { Q ".weight_scale", "F8_E4M3", 2, { 32, 2 } },
    { Q ".weight_global_scale", "F32", 1, { 1 } },
    { Q ".input_global_scale", "F32", 1, { 1 } },
    { E ".weight_packed", "U8", 2, { 16, 16 } },
    { E ".weight_scale", "U8", 2, { 16, 1 } },
    { "+", "", 0, { 0 } }, /* TQ3, groups of 32 */
    { Q ".weight.tq_packed", "U8", 2, { 32, 12 } },
    { Q ".weight.tq_norms", "F32", 2, { 32, 1 } },
    { E ".weight.tq_packed", "U8", 2, { 16, 16 } },
    { E ".weight.tq_norms", "F32", 2, { 16, 1 } },
    { "+", "", 0, { 0 } }, /* VQ, and its spine of GPTQ */
    { E ".qweight", "I32", 2, { 16, 2 } },
    { E ".scales", "F16", 2, { 16, 1 } },
    { "cb2", "F16", 2, { 256, 4 } },
    { Q ".qweight", "I32", 2, { 4, 32 } },
    { Q ".qzeros", "I32", 2, { 1, 4 } },
    { Q ".scales", "F16", 2, { 1, 32 } },
    { "+", "", 0, { 0 } }, /* AQLM */
    { Q ".codes", "I8", 3, { 32, 4, 1 } },
    { Q ".codebooks", "F16", 4, { 1, 256, 1, 8 } },
    { Q ".scales", "F16", 4, { 32, 1, 1, 1 } },
    { "+", "", 0, { 0 } }, /* gpt-oss MXFP4 */
    { "model.layers.1.mlp.experts.gate_up_proj_blocks", "U8", 4, { 4, 32, 1, 16 } },
    { "model.layers.1.mlp.experts.gate_up_proj_scales", "U8", 3, { 4, 32, 1 } },
};

enum { ARRAYS = sizeof arrays / sizeof *arrays, HEADER = 4096, DATA = 1 << 15 };

static size_t bytes_of(const struct array *a)
{
    uint64_t elements = 1, bytes = 0;
    for (int d = 0; d < a->rank; d++) elements *= a->dims[d];
    if (glmq_dtype_bytes(glmq_dtype_from_st(a->dtype, strlen(a->dtype)), elements, &bytes))
        fuzz_broken(a->dtype);
    return (size_t)bytes;
}

/* Columns 0 of one group, shapes of 32 x 32 (16 x 32 for the expert), norms of 1/8. */
static void fill(const struct array *a, uint8_t *data, size_t bytes)
{
    const uint64_t shape[2] = { a->name == strstr(a->name, E) ? 16 : 32, 32 };

    memset(data, strcmp(a->dtype, "F32") == 0 ? 0x3e : 0x38, bytes);
    if (strstr(a->name, "g_idx")) memset(data, 0, bytes);
    if (strstr(a->name, "weight_shape")) memcpy(data, shape, sizeof shape);
}

/* Writes the checkpoint of that number. */
static void put_arrays(unsigned which)
{
    static uint8_t file[8 + HEADER + DATA];
    static uint8_t data[DATA];
    char header[HEADER] = "{";
    size_t n = 1, at = 0, i = 0;
    uint64_t len;

    for (unsigned skipped = 0; i < ARRAYS && skipped < which; i++)
        skipped += arrays[i].name[0] == '+';
    for (const struct array *a = &arrays[i]; a < arrays + ARRAYS && a->name[0] != '+'; a++) {
        const size_t bytes = bytes_of(a);
        char dims[64] = "";
        for (int d = 0; d < a->rank; d++)
            snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%u", d ? "," : "",
                     a->dims[d]);
        n += (size_t)snprintf(
            header + n, sizeof header - n,
            "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
            n > 1 ? "," : "", a->name, a->dtype, dims, at, at + bytes);
        if (n + 2 > HEADER || at + bytes > DATA) fuzz_broken("the table has grown");
        fill(a, data + at, bytes);
        at += bytes;
    }
    header[n++] = '}';
    len = n;
    memcpy(file, &len, 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, data, at);
    fuzz_put("model.safetensors", file, 8 + n + at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    unsigned checkpoints = 1;
    size_t at = 2;

    if (len < 3) return 0;
    for (size_t i = 0; i < ARRAYS; i++) checkpoints += arrays[i].name[0] == '+';
    fuzz_clear();
    put_arrays(data[0] % checkpoints);
    for (size_t f = 0; f < sizeof beside / sizeof *beside && at < len; f++) {
        const uint8_t *end = memchr(data + at, 0, len - at);
        const size_t n = end ? (size_t)(end - (data + at)) : len - at;
        if (n) fuzz_put(beside[f], data + at, n);
        at += n + 1;
    }
    fuzz_open_checkpoint(data[1]);
    return 0;
}
