/* Speed of every codec on one thread: decode, encode and codes in and out, in GB/s of the
 * F32 values, and the ratio of decode to a memcpy of them.  Prints a table; checks nothing.
 *
 *   bench_codecs [rows [cols]] */
#include "base/cpu.h"
#include "base/mem.h"
#include "codecs/codec.h"
#include "codecs/gptq.h"
#include "codecs/transcode.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TILE_BYTES = 256 * 1024, REPEATS = 5 };

typedef struct config {
    const char *label, *codec;
    uint8_t bits, zero_kind, act_order;
    glmq_dtype scale;
    uint32_t group;
} config;

static const config configs[] = {
    { "f32", "f32", 0, 0, 0, GLMQ_DT_NONE, 0 },
    { "f16", "f16", 0, 0, 0, GLMQ_DT_NONE, 0 },
    { "bf16", "bf16", 0, 0, 0, GLMQ_DT_NONE, 0 },
    { "gptq 2", "gptq", 2, GLMQ_ZERO_MID, 0, GLMQ_DT_F16, 128 },
    { "gptq 3", "gptq", 3, GLMQ_ZERO_MID, 0, GLMQ_DT_F16, 128 },
    { "gptq 4", "gptq", 4, GLMQ_ZERO_MID, 0, GLMQ_DT_F16, 128 },
    { "gptq 4 g32 asym", "gptq", 4, GLMQ_ZERO_STORED, 0, GLMQ_DT_F16, 32 },
    { "gptq 4 act-order", "gptq", 4, GLMQ_ZERO_STORED, 1, GLMQ_DT_F16, 128 },
    { "awq 4 asym", "awq", 4, GLMQ_ZERO_STORED, 0, GLMQ_DT_F16, 128 },
    { "gptq 8", "gptq", 8, GLMQ_ZERO_MID, 0, GLMQ_DT_F16, 128 },
    { "ctpack 3", "ctpack", 3, GLMQ_ZERO_MID, 0, GLMQ_DT_BF16, 128 },
    { "ctpack 4 g32", "ctpack", 4, GLMQ_ZERO_MID, 0, GLMQ_DT_BF16, 32 },
    { "ctpack 4 g128", "ctpack", 4, GLMQ_ZERO_MID, 0, GLMQ_DT_BF16, 128 },
    { "ctpack 4 g32 asym", "ctpack", 4, GLMQ_ZERO_STORED, 0, GLMQ_DT_BF16, 32 },
    { "ctpack 4 F16", "ctpack", 4, GLMQ_ZERO_MID, 0, GLMQ_DT_F16, 32 },
    { "ctpack 8", "ctpack", 8, GLMQ_ZERO_MID, 0, GLMQ_DT_BF16, 128 },
    { "ctint channel", "ctint", 8, GLMQ_ZERO_MID, 0, GLMQ_DT_BF16, 0 },
    { "nvfp4 (ModelOpt)", "fp4", 4, 0, 0, GLMQ_DT_F8_E4M3, 16 },
    { "mxfp4 (safetensors)", "fp4", 4, 0, 0, GLMQ_DT_U8, 32 },
    { "mxfp4 (GGUF)", "mxfp4", 4, 0, 0, GLMQ_DT_F16, 32 },
    { "nvfp4 (GGUF)", "nvfp4", 4, 0, 0, GLMQ_DT_F16, 16 },
    { "tq3 2", "tq3", 2, 0, 0, GLMQ_DT_F32, 128 },
    { "tq3 3", "tq3", 3, 0, 0, GLMQ_DT_F32, 128 },
    { "tq3 4", "tq3", 4, 0, 0, GLMQ_DT_F32, 128 },
    { "tq3 3 g64", "tq3", 3, 0, 0, GLMQ_DT_F32, 64 },
    { "tq3 3 g256", "tq3", 3, 0, 0, GLMQ_DT_F32, 256 },
    { "q4_0", "q4_0", 4, 0, 0, GLMQ_DT_F16, 32 },
    { "q4_1", "q4_1", 4, 1, 0, GLMQ_DT_F16, 32 },
    { "q5_0", "q5_0", 5, 0, 0, GLMQ_DT_F16, 32 },
    { "q5_1", "q5_1", 5, 1, 0, GLMQ_DT_F16, 32 },
    { "q8_0", "q8_0", 8, 0, 0, GLMQ_DT_F16, 32 },
};

typedef struct bench {
    glmq_encoding enc;
    glmq_layout layout;
    glmq_bufs bufs;
    uint64_t rows, cols, tile;
    float *w, *out;
    glmq_codes codes;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void decode(bench *b, glmq_tile t)
{
    b->enc.codec->decode(&b->enc, &b->bufs, t, b->out);
}

static void encode(bench *b, glmq_tile t)
{
    b->enc.codec->encode(&b->enc, NULL, t, b->w + t.row * b->cols, &b->bufs);
}

static void get(bench *b, glmq_tile t)
{
    if (b->enc.codec->get_codes) b->enc.codec->get_codes(&b->enc, &b->bufs, t, &b->codes);
}

static void get_put(bench *b, glmq_tile t)
{
    if (!b->enc.codec->get_codes) return;
    b->enc.codec->get_codes(&b->enc, &b->bufs, t, &b->codes);
    if (b->enc.codec->put_codes(&b->enc, &b->codes, t, &b->bufs, NULL)) exit(1);
}

static void copy(bench *b, glmq_tile t)
{
    memcpy(b->out, b->w + t.row * b->cols, t.rows * t.cols * sizeof(float));
}

/* GB/s of F32, the best of a few passes over all tiles. */
static double speed(bench *b, void (*step)(bench *, glmq_tile))
{
    double best = 1e30;
    for (int i = 0; i < REPEATS; i++) {
        const double start = now();
        for (uint64_t r = 0; r < b->rows; r += b->tile) {
            const uint64_t n = b->rows - r < b->tile ? b->rows - r : b->tile;
            step(b, (glmq_tile){ r, n, b->cols, b->rows });
        }
        const double took = now() - start;
        if (took < best) best = took;
    }
    return (double)(b->rows * b->cols * sizeof(float)) / best / 1e9;
}

static void *need(uint64_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p) exit(1);
    return p;
}

static void open_config(bench *b, const config *c)
{
    glmq_error err;
    b->enc = (glmq_encoding){
        .codec = glmq_codec_find(c->codec),
        .bits = c->bits,
        .zero_kind = c->zero_kind,
        .scale_dtype = (uint8_t)c->scale,
        .group = c->group,
        .group_rows = 1,
        .act_order = c->act_order,
        .variant = strcmp(c->codec, "gptq") == 0 ? GPTQ_V1 : 0,
    };
    if (b->enc.codec->layout(&b->enc, b->rows, b->cols, &b->layout, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    b->tile = TILE_BYTES / (b->cols * sizeof(float));
    if (b->tile == 0) b->tile = 1;
    b->tile = (b->tile + b->layout.row_quantum - 1) / b->layout.row_quantum * b->layout.row_quantum;
    for (int s = 0; s < GLMQ_SLOTS; s++)
        b->bufs.buf[s] = b->layout.slot[s].dtype ? need(b->layout.slot[s].bytes) : NULL;
    for (uint64_t r = 0; r < b->rows; r += b->tile) /* real codes, not zeros */
        encode(b,
               (glmq_tile){ r, b->rows - r < b->tile ? b->rows - r : b->tile, b->cols, b->rows });
    if (c->act_order) { /* scatter the columns */
        uint32_t *perm = (uint32_t *)(void *)b->bufs.buf[GLMQ_SLOT_PERM];
        for (uint64_t i = 0; i < b->cols; i++) perm[i] = (uint32_t)(i * 7 % b->cols / c->group);
    }
}

static void close_config(bench *b)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) free(b->bufs.buf[s]);
}

int main(int argc, char **argv)
{
    bench b = { .rows = argc > 1 ? strtoull(argv[1], NULL, 10) : 1024,
                .cols = argc > 2 ? strtoull(argv[2], NULL, 10) : 4096 };
    const uint64_t n = b.rows * b.cols;
    uint32_t seed = 1;
    double whole;

    b.w = need(n * sizeof(float));
    b.out = need(n * sizeof(float));
    b.codes.q = need(n);
    b.codes.scale = need(n * sizeof(float));
    b.codes.offset = need(n * sizeof(float));
    b.codes.zero = need(n * sizeof(int16_t));
    for (uint64_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        b.w[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * 0.04f;
    }
    b.tile = TILE_BYTES / (b.cols * sizeof(float));
    if (b.tile == 0) b.tile = 1;
    whole = speed(&b, copy);
    printf("%s, %llu x %llu, GB/s of F32; memcpy %.1f\n", glmq_isa_name(glmq_isa()),
           (unsigned long long)b.rows, (unsigned long long)b.cols, whole);
    printf("%-18s %8s %8s %8s %8s %8s\n", "codec", "decode", "encode", "get", "get+put", "/memcpy");
    for (size_t i = 0; i < GLMQ_COUNT(configs); i++) {
        open_config(&b, &configs[i]);
        const double d = speed(&b, decode), e = speed(&b, encode);
        const int codes = b.enc.codec->get_codes != NULL;
        printf("%-18s %8.2f %8.2f %8.2f %8.2f %8.2f\n", configs[i].label, d, e,
               codes ? speed(&b, get) : 0, codes ? speed(&b, get_put) : 0, d / whole);
        close_config(&b);
    }
    return 0;
}
