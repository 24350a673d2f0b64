/* Encodings with codebooks for the codec tests: from a case of tests/vectors, and samples. */
#ifndef TESTS_BOOK_CASES_H
#define TESTS_BOOK_CASES_H

#include "base/json.h"
#include "base/num.h"
#include "codec_cases.h"
#include "codecs/aqlm.h"
#include "codecs/vq.h"

static inline uint64_t case_number(const cJSON *o, const char *key)
{
    uint64_t v = 0;
    glmq_json_u64(glmq_json_get(o, key), &v);
    return v;
}

static inline int is_book_case(const cJSON *e)
{
    return glmq_json_get(e, "book") || glmq_json_get(e, "aqlm");
}

/* Tables live until the next case of the same codec. */
static inline glmq_encoding vq_case(const cJSON *e, const cJSON *book)
{
    static vq_book table;
    static float values[1 << 16];
    const char *hex = glmq_json_string(book, "values");
    const char *scale = glmq_json_string(e, "scale");

    table = (vq_book){ .name = "book",
                       .entries = (uint32_t)case_number(book, "entries"),
                       .width = (uint32_t)case_number(book, "width"),
                       .bits = (uint8_t)case_number(e, "bits"),
                       .values = values };
    assert_true((size_t)table.entries * table.width <= sizeof values / sizeof *values);
    for (size_t i = 0; i < sizeof(float) * table.entries * table.width; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        ((uint8_t *)values)[i] = (uint8_t)byte;
    }
    return (glmq_encoding){ .codec = &glmq_codec_vq,
                            .bits = table.bits,
                            .group = (uint32_t)case_number(e, "group"),
                            .group_rows = 1,
                            .scale_dtype = (uint8_t)glmq_dtype_from_st(scale, strlen(scale)),
                            .variant = (uint8_t)case_number(e, "variant"),
                            .tables = &table };
}

static inline glmq_encoding aqlm_case(const cJSON *e, const cJSON *shape)
{
    static aqlm_shape table;
    const char *scale = glmq_json_string(e, "scale"), *codes = glmq_json_string(shape, "codes");
    const char *floats = glmq_json_string(shape, "floats");

    table = (aqlm_shape){ .books = (uint32_t)case_number(shape, "books"),
                          .in = (uint32_t)case_number(shape, "in"),
                          .out = (uint32_t)case_number(shape, "out"),
                          .bits = (uint8_t)case_number(e, "bits"),
                          .code_dtype = (uint8_t)glmq_dtype_from_st(codes, strlen(codes)),
                          .book_dtype = (uint8_t)glmq_dtype_from_st(floats, strlen(floats)),
                          .by_place = (uint8_t)case_number(shape, "by_place") };
    return (glmq_encoding){ .codec = &glmq_codec_aqlm,
                            .bits = table.bits,
                            .group_rows = 1,
                            .scale_dtype = (uint8_t)glmq_dtype_from_st(scale, strlen(scale)),
                            .tables = &table };
}

static inline glmq_encoding book_case(const cJSON *e)
{
    const cJSON *book = glmq_json_get(e, "book");
    return book ? vq_case(e, book) : aqlm_case(e, glmq_json_get(e, "aqlm"));
}

/* ---- samples: any bits are a code of them ---- */

static inline glmq_encoding vq_sample(int bits, uint32_t group, glmq_dtype scale, int form)
{
    static float values[4 << VQ_BITS_MAX];
    static vq_book books[VQ_BITS_MAX + 1];
    vq_book *book = &books[bits];

    for (int i = 0; i < 4 << VQ_BITS_MAX && values[1] == 0; i++)
        values[i] = (float)((uint32_t)i * 2654435761u >> 8) / 16777216.0f - 0.5f;
    *book = (vq_book){ .name = "sample",
                       .entries = 1u << bits,
                       .width = bits == 8 ? 8 : 4,
                       .bits = (uint8_t)bits,
                       .values = values };
    return (glmq_encoding){ .codec = &glmq_codec_vq,
                            .bits = (uint8_t)bits,
                            .group = group,
                            .group_rows = 1,
                            .scale_dtype = (uint8_t)scale,
                            .variant = (uint8_t)form,
                            .tables = book };
}

static inline glmq_encoding aqlm_sample(int bits, glmq_dtype floats, int which)
{
    static const aqlm_shape like[] = {
        { .books = 2, .in = 8, .out = 1 },
        { .books = 1, .in = 4, .out = 2 },
        { .books = 3, .in = 4, .out = 1, .by_place = 1 },
        { .books = 1, .in = 8, .out = 1 },
        { .books = 2, .in = 12, .out = 2 },
    };
    static aqlm_shape shapes[sizeof like / sizeof *like];
    aqlm_shape *s = &shapes[which];

    *s = like[which];
    s->bits = (uint8_t)bits;
    s->code_dtype = bits > 8 ? GLMQ_DT_I16 : GLMQ_DT_I8;
    s->book_dtype = (uint8_t)floats;
    return (glmq_encoding){ .codec = &glmq_codec_aqlm,
                            .bits = (uint8_t)bits,
                            .group_rows = 1,
                            .scale_dtype = (uint8_t)floats,
                            .tables = s };
}

static inline void fill_floats(uint8_t *p, glmq_dtype dtype, uint64_t bytes)
{
    const size_t each = dtype == GLMQ_DT_F32 ? 4 : 2;

    for (uint64_t i = 0; i < bytes / each; i++) {
        const float v = (float)(i * 40503u % 1021 + 1) / 512.0f;
        uint32_t bits;
        memcpy(&bits, &v, 4);
        if (dtype == GLMQ_DT_F32) store_le32(p + 4 * i, bits);
        if (dtype == GLMQ_DT_BF16) store_le16(p + 2 * i, (uint16_t)(bits >> 16));
        if (dtype == GLMQ_DT_F16) store_le16(p + 2 * i, f16_from_f32(v));
    }
}

/* Scales and codebooks; and codes in elements that are wider than they, which any bits are not. */
static inline void fill_books(tensor *t)
{
    static const int slots[] = { GLMQ_SLOT_SCALES, GLMQ_SLOT_BOOK };
    const int form = t->enc.codec == &glmq_codec_vq ? t->enc.variant : VQ_I32;
    uint8_t *codes = t->bufs.buf[GLMQ_SLOT_CODES];
    const uint64_t n = t->layout.slot[GLMQ_SLOT_CODES].bytes;

    for (int i = 0; i < 2; i++)
        if (t->bufs.buf[slots[i]])
            fill_floats(t->bufs.buf[slots[i]], t->layout.slot[slots[i]].dtype,
                        t->layout.slot[slots[i]].bytes);
    for (uint64_t i = 0; i < n && (form == VQ_EACH_I8 || form == VQ_EACH_U8); i++)
        codes[i] &= (uint8_t)((1u << t->enc.bits) - 1);
    for (uint64_t i = 0; i < n / 2 && (form == VQ_EACH_I16 || form == VQ_EACH_U16); i++)
        store_le16(codes + 2 * i, (uint16_t)(load_le16(codes + 2 * i) & ((1u << t->enc.bits) - 1)));
}
#endif
