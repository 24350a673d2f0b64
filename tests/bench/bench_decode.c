/* Decode speed of every registered codec on one thread, in GB/s of F32 out, beside a memcpy of
 * the same F32 bytes and beside peers: ggml's own C through its shared library, and whatever a
 * file of measured lines brings (decode_peers.py writes it; tests/bench/decode runs both).
 *
 *   bench_decode [--quick] [--mib N] [--only NAME] [--ggml FOLDER|FILE] [--peers FILE]
 *
 * "memory": into one buffer that is larger than any cache.  "cache": into a tile that stays in
 * L2, which is how the converter decodes.  Ratios are ours over the peer's.  Ours and ggml's
 * passes alternate and the best of each counts, so that a busy machine hits both.  Beside a
 * Python peer ours decodes a matrix of the size that the peer had, 16 MiB of F32.  What ggml
 * decodes is compared too: other bits than ours are an error (status 1). */
#include "base/cpu.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/aqlm.h"
#include "codecs/codec.h"
#include "codecs/fp4.h"
#include "codecs/gptq.h"
#include "codecs/vq.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum {
    PAGE_BYTES = 2 * 1024 * 1024,
    TILE_BYTES = 64 * 1024,
    PASSES_LEAST = 5,
    PASSES_MOST = 40,
    COLS = 4096,
    NAME_MAX_LEN = 64,
    ROWS_MAX = 256,  /* of the table: peers' lines                       */
    PEER_ROWS = 1024 /* of the matrix that decode_peers.py's peers decode */
};

/* Codecs whose encodings have parameters.  A codec that is one array needs no row here. */
typedef struct config {
    const char *label, *codec;
    uint8_t bits;
    uint32_t group;
    uint16_t group_rows;
    uint8_t zero_kind, act_order, variant;
    glmq_dtype scale;
} config;

#define SYM  GLMQ_ZERO_MID
#define ASYM GLMQ_ZERO_STORED

static const config configs[] = {
    { "gptq 2 g128", "gptq", 2, 128, 1, SYM, 0, GPTQ_V1, GLMQ_DT_F16 },
    { "gptq 3 g128", "gptq", 3, 128, 1, SYM, 0, GPTQ_V1, GLMQ_DT_F16 },
    { "gptq 4 g128", "gptq", 4, 128, 1, SYM, 0, GPTQ_V1, GLMQ_DT_F16 },
    { "gptq 4 g32 asym", "gptq", 4, 32, 1, ASYM, 0, GPTQ_V1, GLMQ_DT_F16 },
    { "gptq 4 act-order", "gptq", 4, 128, 1, ASYM, GLMQ_ACT_ORDER, GPTQ_V1, GLMQ_DT_F16 },
    { "gptq 8 g128", "gptq", 8, 128, 1, SYM, 0, GPTQ_V1, GLMQ_DT_F16 },
    { "awq 4 g128", "awq", 4, 128, 1, ASYM, 0, 0, GLMQ_DT_F16 },
    { "ctpack 4 g32", "ctpack", 4, 32, 1, SYM, 0, 0, GLMQ_DT_BF16 },
    { "ctpack 4 g128", "ctpack", 4, 128, 1, SYM, 0, 0, GLMQ_DT_BF16 },
    { "ctpack 4 g32 asym", "ctpack", 4, 32, 1, ASYM, 0, 0, GLMQ_DT_BF16 },
    { "ctpack 8 g128", "ctpack", 8, 128, 1, SYM, 0, 0, GLMQ_DT_BF16 },
    { "ctint channel", "ctint", 8, 0, 1, SYM, 0, 0, GLMQ_DT_BF16 },
    { "tq3 2 g128", "tq3", 2, 128, 1, SYM, 0, 0, GLMQ_DT_F32 },
    { "tq3 3 g128", "tq3", 3, 128, 1, SYM, 0, 0, GLMQ_DT_F32 },
    { "tq3 4 g128", "tq3", 4, 128, 1, SYM, 0, 0, GLMQ_DT_F32 },
    { "fp8 128x128", "fp8", 8, 128, 128, 0, 0, 0, GLMQ_DT_F32 },
    { "fp8 channel", "fp8", 8, 0, 1, 0, 0, 0, GLMQ_DT_BF16 },
    { "nvfp4 modelopt", "fp4", 4, 16, 1, 0, 0, FP4_MODELOPT, GLMQ_DT_F8_E4M3 },
    { "nvfp4 ct", "fp4", 4, 16, 1, 0, 0, FP4_CT, GLMQ_DT_F8_E4M3 },
    { "mxfp4 ct", "fp4", 4, 32, 1, 0, 0, FP4_CT, GLMQ_DT_U8 },
    { "vq 1 d8", "vq", 8, 128, 1, 0, 0, VQ_I32, GLMQ_DT_F16 },
    { "vq 3 d4", "vq", 12, 128, 1, 0, 0, VQ_I32, GLMQ_DT_F16 },
    { "aqlm 2x8", "aqlm", 8, 0, 1, 0, 0, 2, GLMQ_DT_F16 },
    { "aqlm 1x16", "aqlm", 16, 0, 1, 0, 0, 1, GLMQ_DT_F16 },
};

/* The tables of encodings that have some: books whose entries are all alike, for `bits` of a
 * code; `variant` of AQLM: how many books. */
static const void *tables_of(const config *c)
{
    static float values[4 << 12];
    static vq_book book;
    static aqlm_shape shape;

    if (strcmp(c->codec, "vq") == 0) {
        for (size_t i = 0; i < GLMQ_COUNT(values); i++) values[i] = 0.5f;
        book = (vq_book){ .name = "book",
                          .entries = 1u << c->bits,
                          .width = c->bits == 8 ? 8 : 4,
                          .bits = c->bits,
                          .values = values };
        return &book;
    }
    if (strcmp(c->codec, "aqlm") != 0) return NULL;
    shape = (aqlm_shape){ .books = c->variant,
                          .bits = c->bits,
                          .in = 8,
                          .out = 1,
                          .code_dtype = c->bits > 8 ? GLMQ_DT_I16 : GLMQ_DT_I8,
                          .book_dtype = GLMQ_DT_F16 };
    return &shape;
}

/* Half scales within a block, so that blocks without an encoder get scales of weights. */
typedef struct half_place {
    glmq_dtype dtype;
    uint16_t at[2];
} half_place;

static const half_place halves[] = {
    { GLMQ_DT_Q8_1, { 0, 2 } },    { GLMQ_DT_Q2_K, { 80, 82 } },  { GLMQ_DT_Q3_K, { 108, 108 } },
    { GLMQ_DT_Q4_K, { 0, 2 } },    { GLMQ_DT_Q5_K, { 0, 2 } },    { GLMQ_DT_Q6_K, { 208, 208 } },
    { GLMQ_DT_Q8_K, { 0, 2 } },    { GLMQ_DT_IQ2_XXS, { 0, 0 } }, { GLMQ_DT_IQ2_XS, { 0, 0 } },
    { GLMQ_DT_IQ2_S, { 0, 0 } },   { GLMQ_DT_IQ3_XXS, { 0, 0 } }, { GLMQ_DT_IQ3_S, { 0, 0 } },
    { GLMQ_DT_IQ1_S, { 0, 0 } },   { GLMQ_DT_IQ4_NL, { 0, 0 } },  { GLMQ_DT_IQ4_XS, { 0, 0 } },
    { GLMQ_DT_TQ1_0, { 52, 52 } }, { GLMQ_DT_TQ2_0, { 64, 64 } }, { GLMQ_DT_Q1_0, { 0, 0 } },
    { GLMQ_DT_Q2_0, { 0, 0 } },
};

/* ggml's row functions: (blocks, weights, count of weights). */
typedef void (*ggml_row_fn)(const void *src, float *w, int64_t n);
enum { GGML_SYMBOLS = 2 };
typedef struct ggml_row {
    const char *codec, *symbol[GGML_SYMBOLS];
} ggml_row;

#define ROW(codec, name)                                                                           \
    {                                                                                              \
        codec,                                                                                     \
        {                                                                                          \
            "dequantize_row_" name, NULL                                                           \
        }                                                                                          \
    }
static const ggml_row ggml_rows[] = {
    { "f16", { "ggml_fp16_to_fp32_row", "ggml_cpu_fp16_to_fp32" } },
    { "bf16", { "ggml_bf16_to_fp32_row", "ggml_cpu_bf16_to_fp32" } },
    ROW("q4_0", "q4_0"),
    ROW("q4_1", "q4_1"),
    ROW("q5_0", "q5_0"),
    ROW("q5_1", "q5_1"),
    ROW("q8_0", "q8_0"),
    ROW("q2_k", "q2_K"),
    ROW("q3_k", "q3_K"),
    ROW("q4_k", "q4_K"),
    ROW("q5_k", "q5_K"),
    ROW("q6_k", "q6_K"),
    ROW("q8_k", "q8_K"),
    ROW("iq2_xxs", "iq2_xxs"),
    ROW("iq2_xs", "iq2_xs"),
    ROW("iq2_s", "iq2_s"),
    ROW("iq3_xxs", "iq3_xxs"),
    ROW("iq3_s", "iq3_s"),
    ROW("iq1_s", "iq1_s"),
    ROW("iq1_m", "iq1_m"),
    ROW("iq4_nl", "iq4_nl"),
    ROW("iq4_xs", "iq4_xs"),
    ROW("tq1_0", "tq1_0"),
    ROW("tq2_0", "tq2_0"),
    ROW("mxfp4", "mxfp4"),
    ROW("nvfp4", "nvfp4"),
    ROW("q1_0", "q1_0"),
    ROW("q2_0", "q2_0"),
};

typedef struct peer_line {
    char label[NAME_MAX_LEN], peer[NAME_MAX_LEN];
    double speed;
} peer_line;

typedef struct bench {
    uint64_t rows, cols, tile;
    int quick, wrong;
    const char *only;
    float *w, *out, *theirs;
    void *ggml[2];
    peer_line *lines;
    size_t line_count;
    double copy[2];

    glmq_encoding enc; /* of the codec in hand */
    glmq_layout layout;
    glmq_bufs bufs;
    ggml_row_fn row_fn;
} bench;

/* Zeroed, on huge pages where the system gives them: decoders are measured, not walks through
 * page tables. */
static void *need(uint64_t bytes)
{
    const size_t size = (size_t)(bytes / PAGE_BYTES + 1) * PAGE_BYTES;
    void *p = aligned_alloc(PAGE_BYTES, size);
    if (!p) {
        fprintf(stderr, "bench_decode: out of memory (%llu bytes)\n", (unsigned long long)bytes);
        exit(1);
    }
#ifdef MADV_HUGEPAGE
    madvise(p, size, MADV_HUGEPAGE);
#endif
    return memset(p, 0, size);
}

/* ---- what is measured: one tile of `n` rows from `row` on, into `out` ---- */

typedef void (*tile_fn)(bench *b, uint64_t row, uint64_t n, float *out);

static void copy(bench *b, uint64_t row, uint64_t n, float *out)
{
    memcpy(out, b->w + row * b->cols, n * b->cols * sizeof(float));
}

static void ours(bench *b, uint64_t row, uint64_t n, float *out)
{
    b->enc.codec->decode(&b->enc, &b->bufs, (glmq_tile){ row, n, b->cols, b->rows }, out);
}

static void theirs(bench *b, uint64_t row, uint64_t n, float *out)
{
    const glmq_slot_layout *s = &b->layout.slot[GLMQ_SLOT_CODES];
    b->row_fn(b->bufs.buf[GLMQ_SLOT_CODES] + row * s->stripe_bytes, out, (int64_t)(n * b->cols));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double pass(bench *b, tile_fn fn, float *out, int in_cache)
{
    const double start = now();
    for (uint64_t r = 0; r < b->rows; r += b->tile) {
        const uint64_t n = b->rows - r < b->tile ? b->rows - r : b->tile;
        fn(b, r, n, in_cache ? out : out + r * b->cols);
    }
    return now() - start;
}

/* Best GB/s of alternating passes into the same buffer (two would differ in their pages); b_fn
 * may be NULL. */
static void measure(bench *b, tile_fn a_fn, tile_fn b_fn, double a[2], double z[2])
{
    const double bytes = (double)(b->rows * b->cols * sizeof(float)) / 1e9, limit = 0.35;
    for (int in_cache = 1; in_cache >= 0; in_cache--) {
        double best_a = 1e30, best_b = 1e30, total = 0;
        for (int i = 0; i < PASSES_MOST && (i < PASSES_LEAST || total < limit); i++) {
            const double ta = pass(b, a_fn, b->out, in_cache);
            const double tb = b_fn ? pass(b, b_fn, b->out, in_cache) : 0;
            if (ta < best_a) best_a = ta;
            if (tb < best_b) best_b = tb;
            total += ta;
            if (b->quick) break;
        }
        a[in_cache] = bytes / best_a;
        z[in_cache] = bytes / best_b;
    }
}

static int same_bits(bench *b)
{
    pass(b, ours, b->out, 0);
    pass(b, theirs, b->theirs, 0);
    return memcmp(b->out, b->theirs, b->rows * b->cols * sizeof(float)) == 0;
}

/* ---- a codec's data ---- */

static uint32_t next(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* About 2^-7 .. 2^-5, of either sign: bits of a half. */
static uint16_t some_half(uint32_t *x)
{
    return (uint16_t)(0x2000 + (next(x) & 0x87ff));
}

static void fill_halves(bench *b, uint8_t *p, uint64_t bytes, uint32_t *x)
{
    const glmq_dtype dtype = glmq_encoding_dtype(&b->enc);
    const uint64_t each = glmq_dtype_info_of(dtype)->bytes;
    for (size_t i = 0; i < GLMQ_COUNT(halves); i++)
        for (uint64_t k = 0; halves[i].dtype == dtype && k < bytes; k += each)
            for (int h = 0; h < 2; h++) store_le16(p + k + halves[i].at[h], some_half(x));
    for (uint64_t k = 0; dtype == GLMQ_DT_IQ1_M && k < bytes; k += each) {
        const uint16_t d = some_half(x); /* a nibble in each of four words of scales */
        for (int h = 0; h < 4; h++) {
            const uint16_t nibble = (uint16_t)(d >> 4 * h << 12);
            store_le16(p + k + 48 + 2 * h,
                       (uint16_t)((load_le16(p + k + 48 + 2 * h) & 0xfff) | nibble));
        }
    }
    for (uint64_t k = 0; dtype == GLMQ_DT_MXFP4 && k < bytes; k += each)
        p[k] = (uint8_t)(115 + next(x) % 8);
}

static void fill_slot(bench *b, int slot, uint32_t *x)
{
    const glmq_slot_layout *s = &b->layout.slot[slot];
    uint8_t *p = b->bufs.buf[slot];
    for (uint64_t i = 0; i < s->bytes; i++) p[i] = (uint8_t)(next(x) >> 8);
    if (slot == GLMQ_SLOT_CODES) {
        fill_halves(b, p, s->bytes, x);
        return;
    }
    for (uint64_t i = 0; s->dtype == GLMQ_DT_F32 && i < s->bytes; i += 4)
        store_le32(p + i, 0x3c000000 + (next(x) & 0x7fffff));
    for (uint64_t i = 0; s->dtype == GLMQ_DT_F16 && i < s->bytes; i += 2)
        store_le16(p + i, some_half(x));
    for (uint64_t i = 0; s->dtype == GLMQ_DT_BF16 && i < s->bytes; i += 2)
        store_le16(p + i, (uint16_t)(0x3c00 + (next(x) & 0x7f)));
}

/* Weights encoded; where there is no encoder, bytes of a fixed sequence. */
static void fill(bench *b)
{
    uint32_t x = 1;
    if (!b->enc.codec->encode) {
        for (int s = 0; s < GLMQ_SLOTS; s++)
            if (b->bufs.buf[s]) fill_slot(b, s, &x);
        return;
    }
    for (uint64_t r = 0; r < b->rows; r += b->tile) {
        const uint64_t n = b->rows - r < b->tile ? b->rows - r : b->tile;
        b->enc.codec->encode(&b->enc, NULL, (glmq_tile){ r, n, b->cols, b->rows },
                             b->w + r * b->cols, &b->bufs);
    }
    if (b->enc.act_order && b->bufs.buf[GLMQ_SLOT_PERM]) /* scatter the columns */
        for (uint64_t i = 0; i < b->cols; i++)
            store_le32(b->bufs.buf[GLMQ_SLOT_PERM] + 4 * i,
                       (uint32_t)(i * 7 % b->cols / b->enc.group));
}

static void open_encoding(bench *b, glmq_encoding enc)
{
    const uint64_t row_bytes = b->cols * sizeof(float);
    glmq_error err;

    b->enc = enc;
    if (enc.codec->layout(&enc, b->rows, b->cols, &b->layout, &err)) {
        fprintf(stderr, "bench_decode: %s\n", err.msg);
        exit(1);
    }
    b->tile = ceil_div_u64(TILE_BYTES, row_bytes);
    b->tile = ceil_div_u64(b->tile, b->layout.row_quantum) * b->layout.row_quantum;
    if (b->tile > b->rows) b->tile = b->rows;
    for (int s = 0; s < GLMQ_SLOTS; s++)
        b->bufs.buf[s] = b->layout.slot[s].dtype ? need(b->layout.slot[s].bytes) : NULL;
    fill(b);
}

static void close_encoding(bench *b)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) free(b->bufs.buf[s]);
}

/* ---- the table ---- */

/* A Python peer has one speed, into memory of its own: both of ours are held against it. */
static void print_peer(const char *peer, const double o[2], double memory, double cache)
{
    printf("  %-20s %7.2f %6.2fx", peer, memory, o[0] / memory);
    if (cache > 0)
        printf(" %7.2f %6.2fx", cache, o[1] / cache);
    else
        printf(" %7s %6.2fx", "", o[1] / memory);
}

static void print_ours(const char *label, const double o[2], const double copy[2])
{
    printf("%-18s %7.2f %6.2fx %7.2f %6.2fx", label, o[0], o[0] / copy[0], o[1], o[1] / copy[1]);
}

/* Ours beside each of ggml's functions for it; a line more for each after the first. */
static int ggml_peers(bench *b, const char *label)
{
    int printed = 0;
    for (size_t i = 0; i < GLMQ_COUNT(ggml_rows); i++) {
        if (strcmp(ggml_rows[i].codec, b->enc.codec->name)) continue;
        for (int s = 0; s < GGML_SYMBOLS && ggml_rows[i].symbol[s]; s++) {
            void *found = b->ggml[s] ? dlsym(b->ggml[s], ggml_rows[i].symbol[s]) : NULL;
            double o[2], p[2];
            if (!found) continue;
            memcpy(&b->row_fn, &found, sizeof found);
            measure(b, ours, theirs, o, p);
            print_ours(label, o, b->copy);
            print_peer(s ? "ggml-cpu" : "ggml", o, p[0], p[1]);
            if (!same_bits(b)) {
                printf("  OTHER BITS");
                b->wrong = 1;
            }
            printf("\n");
            printed = 1;
        }
    }
    return printed;
}

/* Likewise beside Python's, on a matrix of the size that they had; so is the copy. */
static int python_peers(bench *b, const char *label, glmq_encoding enc)
{
    const uint64_t rows = b->rows;
    int printed = 0;

    if (b->rows > PEER_ROWS) b->rows = PEER_ROWS;
    for (size_t i = 0; i < b->line_count; i++) {
        double o[2], c[2], none[2];
        if (strcmp(b->lines[i].label, label)) continue;
        open_encoding(b, enc);
        measure(b, copy, NULL, c, none);
        measure(b, ours, NULL, o, none); /* not in turns: what is decoded stays where it is */
        print_ours(label, o, c);
        print_peer(b->lines[i].peer, o, b->lines[i].speed, 0);
        printf("\n");
        close_encoding(b);
        printed = 1;
    }
    b->rows = rows;
    return printed;
}

static void run(bench *b, const char *label, glmq_encoding enc)
{
    double o[2], none[2];
    int printed;

    if (b->only && !strstr(label, b->only)) return;
    open_encoding(b, enc);
    printed = ggml_peers(b, label);
    measure(b, ours, NULL, o, none);
    close_encoding(b);
    if (!python_peers(b, label, enc) && !printed) {
        print_ours(label, o, b->copy);
        printf("\n");
    }
    fflush(stdout);
}

static glmq_encoding of_config(const config *c)
{
    return (glmq_encoding){
        .codec = glmq_codec_find(c->codec),
        .bits = c->bits,
        .group = c->group,
        .group_rows = c->group_rows,
        .zero_kind = c->zero_kind,
        .act_order = c->act_order,
        .variant = c->variant,
        .scale_dtype = (uint8_t)c->scale,
        .tables = tables_of(c),
    };
}

/* Every encoding of the table, or the one that a codec of one array has. */
static void run_codec(bench *b, const glmq_codec *codec)
{
    int found = 0;
    for (size_t i = 0; i < GLMQ_COUNT(configs); i++)
        if (strcmp(configs[i].codec, codec->name) == 0) {
            run(b, configs[i].label, of_config(&configs[i]));
            found = 1;
        }
    for (int d = 1; d < GLMQ_DT_COUNT && !found; d++) {
        const glmq_encoding e = glmq_encoding_of_dtype((glmq_dtype)d);
        if (e.codec != codec) continue;
        run(b, codec->name, e);
        found = 1;
    }
    if (!found) {
        fprintf(stderr, "bench_decode: %s has no row in the table of encodings\n", codec->name);
        b->wrong = 1;
    }
}

/* ---- options ---- */

/* FOLDER/libggml-base.so and libggml-cpu.so; or the first alone by its path. */
static void open_ggml(bench *b, const char *path)
{
    static const char *const names[] = { "libggml-base.so", "libggml-cpu.so" };
    struct stat st;
    const int folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    for (size_t i = 0; i < (folder ? GLMQ_COUNT(names) : 1); i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s%s%s", path, folder ? "/" : "", folder ? names[i] : "");
        b->ggml[i] = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
        if (!b->ggml[i]) fprintf(stderr, "bench_decode: %s\n", dlerror());
    }
}

/* Lines "label <tab> peer <tab> GB/s". */
static void read_lines(bench *b, const char *path)
{
    FILE *f = fopen(path, "r");
    char text[256];

    if (!f) {
        fprintf(stderr, "bench_decode: cannot open %s\n", path);
        exit(1);
    }
    b->lines = need(ROWS_MAX * sizeof *b->lines);
    while (b->line_count < ROWS_MAX && fgets(text, sizeof text, f)) {
        peer_line *l = &b->lines[b->line_count];
        if (sscanf(text, "%63[^\t]\t%63[^\t]\t%lf", l->label, l->peer, &l->speed) == 3)
            b->line_count++;
    }
    fclose(f);
}

static void options(bench *b, int argc, char **argv)
{
    uint64_t mib = 64;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--quick") == 0) {
            b->quick = 1;
            mib = 2;
            continue;
        }
        if (strcmp(argv[i], "--mib") == 0)
            mib = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--only") == 0)
            b->only = value;
        else if (strcmp(argv[i], "--ggml") == 0)
            open_ggml(b, value);
        else if (strcmp(argv[i], "--peers") == 0)
            read_lines(b, value);
        else {
            fprintf(stderr, "usage: bench_decode [--quick] [--mib N] [--only NAME] "
                            "[--ggml FOLDER|FILE] [--peers FILE]\n");
            exit(2);
        }
        i++;
    }
    b->cols = COLS;
    b->rows = mib * 1024 * 1024 / (COLS * sizeof(float));
    if (b->rows < 128 || b->rows > 1 << 20) {
        fprintf(stderr, "bench_decode: %llu MiB, expected 2 to 16384\n", (unsigned long long)mib);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    bench b = { 0 };
    double none[2];
    uint32_t x = 1;

    options(&b, argc, argv);
    b.tile = TILE_BYTES / (b.cols * sizeof(float));
    b.w = need(b.rows * b.cols * sizeof(float));
    b.out = need(b.rows * b.cols * sizeof(float));
    b.theirs = need(b.rows * b.cols * sizeof(float));
    for (uint64_t i = 0; i < b.rows * b.cols; i++)
        b.w[i] = ((float)next(&x) / 8388608.0f - 1.0f) * 0.04f;
    measure(&b, copy, NULL, b.copy, none);
    printf("%s, one thread, GB/s of F32 out; memcpy %.2f in memory (%llu MiB), %.2f into a tile "
           "of %d KiB\n",
           glmq_isa_name(glmq_isa()), b.copy[0],
           (unsigned long long)(b.rows * b.cols * sizeof(float) >> 20), b.copy[1],
           TILE_BYTES / 1024);
    printf("%-18s %7s %7s %7s %7s  %-20s %7s %7s %7s %7s\n", "codec", "memory", "/memcpy", "cache",
           "/memcpy", "peer", "memory", "ratio", "cache", "ratio");
    for (size_t i = 0; i < glmq_codec_count(); i++) run_codec(&b, glmq_codec_at(i));
    free(b.w);
    free(b.out);
    free(b.theirs);
    free(b.lines);
    return b.wrong;
}
