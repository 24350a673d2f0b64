/* GGUF files made by hand, each with one defect (or one oddity that is legal), and what
 * must come of it.  Shared by the unit test and the seeds of the fuzzer. */
#ifndef GLMQ_TESTS_GGUF_DEFECTS_H
#define GLMQ_TESTS_GGUF_DEFECTS_H

#include "build_files.h"
#include "readers/gguf_kv.h"

/* X(word, status, text in the message, or the code of the problem where the status is OK) */
#define DEFECTS(X)                                                                                 \
    X(FINE, GLMQ_OK, NULL)                                                                         \
    X(FINE_VERSION_2, GLMQ_OK, NULL)                                                               \
    X(FINE_ALIGNMENT_64, GLMQ_OK, NULL)                                                            \
    X(FINE_ALIGNMENT_1, GLMQ_OK, NULL)                                                             \
    X(FINE_NO_ARRAYS, GLMQ_OK, NULL)                                                               \
    X(FINE_NO_KEYS, GLMQ_OK, NULL)                                                                 \
    X(FINE_ZERO_DIM, GLMQ_OK, NULL)                                                                \
    X(FINE_NO_DIMS, GLMQ_OK, NULL)                                                                 \
    X(FINE_NAME_63, GLMQ_OK, NULL)                                                                 \
    X(FINE_BOOL_7, GLMQ_OK, NULL)                                                                  \
    X(FINE_EMPTY_ARRAY, GLMQ_OK, NULL)                                                             \
    X(FINE_KEY_WITH_NUL, GLMQ_OK, NULL)                                                            \
    X(FINE_STRING_NOT_UTF8, GLMQ_OK, NULL)                                                         \
    X(FINE_NO_LAST_PADDING, GLMQ_OK, NULL)                                                         \
    X(FINE_GAP, GLMQ_OK, "gguf-gaps")                                                              \
    X(FINE_REORDERED, GLMQ_OK, "gguf-gaps")                                                        \
    X(FINE_TRAILING, GLMQ_OK, "trailing-bytes")                                                    \
    X(BAD_MAGIC, GLMQ_E_FORMAT, "begins with 47 47 55 58")                                         \
    X(BAD_VERSION_0, GLMQ_E_FORMAT, "version 0")                                                   \
    X(BAD_VERSION_1, GLMQ_E_UNSUPPORTED, "version 1")                                              \
    X(BAD_VERSION_4, GLMQ_E_UNSUPPORTED, "version 4")                                              \
    X(BAD_BIG_ENDIAN, GLMQ_E_UNSUPPORTED, "big-endian")                                            \
    X(BAD_ARRAYS_HUGE, GLMQ_E_FORMAT, "1152921504606846976 arrays")                                \
    X(BAD_ARRAYS_NEGATIVE, GLMQ_E_FORMAT, "18446744073709551615 arrays")                           \
    X(BAD_ARRAYS_ONE_MORE, GLMQ_E_FORMAT, "array 3 of 4")                                          \
    X(BAD_KEYS_HUGE, GLMQ_E_FORMAT, "1152921504606846976 keys")                                    \
    X(BAD_KEYS_NEGATIVE, GLMQ_E_FORMAT, "18446744073709551615 keys")                               \
    X(BAD_KEYS_ONE_MORE, GLMQ_E_FORMAT, "array 1 of 3")                                            \
    X(BAD_KEY_EMPTY, GLMQ_E_FORMAT, "is empty")                                                    \
    X(BAD_KEY_LENGTH_WRAPS, GLMQ_E_FORMAT, "key: 18446744073709551615 bytes at")                   \
    X(BAD_KEY_LENGTH_BEYOND, GLMQ_E_FORMAT, "the file ends at")                                    \
    X(BAD_KEY_TWICE, GLMQ_E_FORMAT, "key x.count is there twice")                                  \
    X(BAD_KEY_TWICE_OTHER_TYPE, GLMQ_E_FORMAT, "key x.count is there twice")                       \
    X(BAD_VALUE_TYPE, GLMQ_E_FORMAT, "value type 13")                                              \
    X(BAD_VALUE_TYPE_HUGE, GLMQ_E_FORMAT, "value type 4294967295")                                 \
    X(BAD_ITEM_TYPE, GLMQ_E_FORMAT, "element type 13")                                             \
    X(BAD_ARRAY_OF_ARRAYS, GLMQ_E_FORMAT, "array of arrays")                                       \
    X(BAD_ARRAY_COUNT_2_63, GLMQ_E_FORMAT, "array of 9223372036854775808 strings")                 \
    X(BAD_ARRAY_COUNT_WRAPS, GLMQ_E_FORMAT, "array of 2305843009213693953 u64s")                   \
    X(BAD_ARRAY_COUNT_BEYOND, GLMQ_E_FORMAT, "array of 1048576 u32s")                              \
    X(BAD_ARRAY_STRINGS_BEYOND, GLMQ_E_FORMAT, "array of 1073741824 strings")                      \
    X(BAD_STRING_BEYOND, GLMQ_E_FORMAT, "the file ends at")                                        \
    X(BAD_STRING_WRAPS, GLMQ_E_FORMAT, "string: 18446744073709551608 bytes at")                    \
    X(BAD_ALIGNMENT_TYPE, GLMQ_E_FORMAT, "general.alignment has type u64")                         \
    X(BAD_ALIGNMENT_0, GLMQ_E_FORMAT, "general.alignment is 0")                                    \
    X(BAD_ALIGNMENT_48, GLMQ_E_FORMAT, "general.alignment is 48")                                  \
    X(BAD_ALIGNMENT_2_31, GLMQ_E_FORMAT, "data begins at 2147483648")                              \
    X(BAD_NAME_64, GLMQ_E_FORMAT, "name of 64 bytes")                                              \
    X(BAD_NAME_WITH_NUL, GLMQ_E_FORMAT, "NUL")                                                     \
    X(BAD_NAME_TWICE, GLMQ_E_FORMAT, "array one is there twice")                                   \
    X(BAD_DIMS_5, GLMQ_E_FORMAT, "5 dimensions")                                                   \
    X(BAD_DIMS_HUGE, GLMQ_E_FORMAT, "4294967295 dimensions")                                       \
    X(BAD_DIM_NEGATIVE, GLMQ_E_FORMAT, "overflows")                                                \
    X(BAD_DIMS_WRAP_TO_4, GLMQ_E_FORMAT, "overflows")                                              \
    X(BAD_DIMS_OVER_INT64, GLMQ_E_FORMAT, "overflows")                                             \
    X(BAD_ZERO_HIDES_OVERFLOW, GLMQ_E_FORMAT, "overflows")                                         \
    X(BAD_BYTES_WRAP, GLMQ_E_FORMAT, "overflow")                                                   \
    X(BAD_TYPE_9999, GLMQ_E_UNSUPPORTED, "type 9999")                                              \
    X(BAD_TYPE_REMOVED, GLMQ_E_UNSUPPORTED, "type 4: removed from ggml (was Q4_2)")                \
    X(BAD_TYPE_OF_A_FORK, GLMQ_E_UNSUPPORTED, "type 137: IQ2_K of ik_llama.cpp")                   \
    X(BAD_RAGGED_BLOCK, GLMQ_E_FORMAT, "33 columns")                                               \
    X(BAD_OFFSET_UNALIGNED, GLMQ_E_FORMAT, "no multiple of 32")                                    \
    X(BAD_OFFSET_BEYOND, GLMQ_E_FORMAT, "of the data, which has")                                  \
    X(BAD_OFFSET_WRAPS, GLMQ_E_FORMAT, "of the data, which has")                                   \
    X(BAD_OVERLAP, GLMQ_E_FORMAT, "overlaps")                                                      \
    X(BAD_SHARED, GLMQ_E_FORMAT, "overlaps")                                                       \
    X(BAD_DATA_CUT, GLMQ_E_FORMAT, "of the data, which has")                                       \
    X(BAD_DATA_BEYOND, GLMQ_E_FORMAT, "data begins at")

typedef enum defect {
#define X(word, status, text) word,
    DEFECTS(X)
#undef X
        DEFECT_COUNT
} defect;

static const struct {
    const char *word;
    glmq_status status;
    const char *text;
} defects[] = {
#define X(word, status, text) { #word, status, text },
    DEFECTS(X)
#undef X
};

/* ---- keys ---- */

static inline void put_key(bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static inline void put_array_head(bytes *b, const char *key, uint32_t item, uint64_t count)
{
    put_key(b, key, GGUF_ARRAY);
    put_u32(b, item);
    put_u64(b, count);
}

static inline void put_key_u32(bytes *b, const char *key, uint32_t v)
{
    put_key(b, key, GGUF_U32);
    put_u32(b, v);
}

static inline void put_key_u64(bytes *b, const char *key, uint64_t v)
{
    put_key(b, key, GGUF_U64);
    put_u64(b, v);
}

/* A key and value in place, for the defects of one key. */
#define TEXT(s) sizeof(s) - 1, s
static const struct {
    defect d;
    size_t key_len;
    const char *key;
    uint32_t type;
    size_t len;
    const char *value;
} bad_scalars[] = {
    { FINE_ALIGNMENT_64, TEXT("general.alignment"), GGUF_U32, TEXT("\x40\0\0\0") },
    { FINE_ALIGNMENT_1, TEXT("general.alignment"), GGUF_U32, TEXT("\1\0\0\0") },
    { BAD_ALIGNMENT_TYPE, TEXT("general.alignment"), GGUF_U64, TEXT("\x20\0\0\0\0\0\0\0") },
    { BAD_ALIGNMENT_0, TEXT("general.alignment"), GGUF_U32, TEXT("\0\0\0\0") },
    { BAD_ALIGNMENT_48, TEXT("general.alignment"), GGUF_U32, TEXT("\x30\0\0\0") },
    { BAD_ALIGNMENT_2_31, TEXT("general.alignment"), GGUF_U32, TEXT("\0\0\0\x80") },
    { FINE_BOOL_7, TEXT("x.flag"), GGUF_BOOL, TEXT("\7") },
    { FINE_KEY_WITH_NUL, TEXT("a\0b"), GGUF_U32, TEXT("\1\0\0\0") },
    { FINE_STRING_NOT_UTF8, TEXT("x.text"), GGUF_STRING, TEXT("\2\0\0\0\0\0\0\0\xff\xc0") },
    { BAD_KEY_EMPTY, TEXT(""), GGUF_U32, TEXT("\1\0\0\0") },
    { BAD_KEY_TWICE, TEXT("x.count"), GGUF_U32, TEXT("\x08\0\0\0") },
    { BAD_KEY_TWICE_OTHER_TYPE, TEXT("x.count"), GGUF_U64, TEXT("\x08\0\0\0\0\0\0\0") },
    { BAD_VALUE_TYPE, TEXT("x.bad"), GGUF_TYPES, TEXT("\0\0\0\0") },
    { BAD_VALUE_TYPE_HUGE, TEXT("x.bad"), UINT32_MAX, TEXT("\0\0\0\0") },
    { BAD_STRING_BEYOND, TEXT("x.bad"), GGUF_STRING, TEXT("\0\0\0\x40\0\0\0\0") },
    { BAD_STRING_WRAPS, TEXT("x.bad"), GGUF_STRING, TEXT("\xf8\xff\xff\xff\xff\xff\xff\xff") },
};

static const struct {
    defect d;
    const char *key;
    uint32_t item;
    uint64_t count;
} bad_arrays[] = {
    { FINE_EMPTY_ARRAY, "x.none", GGUF_STRING, 0 },
    { BAD_ITEM_TYPE, "x.bad", GGUF_TYPES, 1 },
    { BAD_ARRAY_OF_ARRAYS, "x.bad", GGUF_ARRAY, 1 },
    { BAD_ARRAY_COUNT_2_63, "x.bad", GGUF_STRING, UINT64_C(1) << 63 },
    { BAD_ARRAY_COUNT_WRAPS, "x.bad", GGUF_U64,
      (UINT64_C(1) << 61) + 1 }, /* x 8 bytes = 8 modulo 2^64 */
    { BAD_ARRAY_COUNT_BEYOND, "x.bad", GGUF_U32, 1 << 20 },
    { BAD_ARRAY_STRINGS_BEYOND, "x.bad", GGUF_STRING, 1 << 30 },
};

/* The key that carries the defect, if it is one of a key.  Returns how many were put. */
static inline uint64_t put_bad_key(bytes *b, defect d)
{
    for (size_t i = 0; i < sizeof bad_scalars / sizeof *bad_scalars; i++) {
        if (bad_scalars[i].d != d) continue;
        put_u64(b, bad_scalars[i].key_len);
        put(b, bad_scalars[i].key, bad_scalars[i].key_len);
        put_u32(b, bad_scalars[i].type);
        put(b, bad_scalars[i].value, bad_scalars[i].len);
        return 1;
    }
    for (size_t i = 0; i < sizeof bad_arrays / sizeof *bad_arrays; i++) {
        if (bad_arrays[i].d != d) continue;
        put_array_head(b, bad_arrays[i].key, bad_arrays[i].item, bad_arrays[i].count);
        if (bad_arrays[i].count) put_zeros(b, 8);
        return 1;
    }
    if (d != BAD_KEY_LENGTH_WRAPS && d != BAD_KEY_LENGTH_BEYOND) return 0;
    put_u64(b, d == BAD_KEY_LENGTH_WRAPS ? UINT64_MAX : 1 << 20);
    put_zeros(b, 16);
    return 1;
}

static inline uint64_t put_keys(bytes *b, defect d)
{
    if (d == FINE_NO_KEYS) return 0;
    put_key(b, "general.architecture", GGUF_STRING);
    put_string(b, "x");
    put_key_u32(b, "x.count", 7);
    put_array_head(b, "x.words", GGUF_STRING, 2);
    put_string(b, "first");
    put_string(b, "");
    put_array_head(b, "x.numbers", GGUF_I32, 3);
    put_u32(b, 1);
    put_u32(b, (uint32_t)-2);
    put_u32(b, 3);
    return 4 + put_bad_key(b, d);
}

/* ---- arrays ---- */

typedef struct made_array {
    const char *name;
    size_t name_len;
    uint32_t dims;
    uint64_t ne[5];
    uint32_t type;
    uint64_t offset, bytes; /* bytes as the data has them */
} made_array;

enum { MADE_ARRAYS = 3 };
static const char name_64[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static inline void spoil_shape(made_array *t, defect d)
{
    static const struct {
        defect d;
        uint32_t dims;
        uint64_t ne[5];
    } shapes[] = {
        { FINE_NO_DIMS, 0, { 0 } },
        { FINE_ZERO_DIM, 2, { 4, 0 } },
        { BAD_DIMS_5, 5, { 2, 1, 1, 1, 1 } },
        { BAD_DIM_NEGATIVE, 1, { UINT64_MAX } },
        { BAD_DIMS_WRAP_TO_4, 2, { (UINT64_C(1) << 62) + 1, 4 } },
        { BAD_DIMS_OVER_INT64, 4, { 1 << 16, 1 << 16, 1 << 16, 1 << 15 } },
        { BAD_ZERO_HIDES_OVERFLOW, 3, { UINT64_C(1) << 40, UINT64_C(1) << 40, 0 } },
        { BAD_BYTES_WRAP, 1, { (UINT64_C(1) << 62) + 2 } },
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (shapes[i].d != d) continue;
        t->dims = shapes[i].dims;
        memcpy(t->ne, shapes[i].ne, sizeof t->ne);
    }
    if (d == FINE_NO_DIMS) t->bytes = 4;
    if (d == FINE_ZERO_DIM) t->bytes = 0;
}

static inline void spoil_array(made_array *t, defect d)
{
    spoil_shape(&t[0], d);
    if (d == BAD_TYPE_9999) t[0].type = 9999;
    if (d == BAD_TYPE_REMOVED) t[0].type = 4;
    if (d == BAD_TYPE_OF_A_FORK) t[0].type = 137;
    if (d == BAD_RAGGED_BLOCK) t[2].ne[0] = 33;
    if (d == BAD_NAME_TWICE) t[2].name = "one", t[2].name_len = 3;
    if (d == BAD_NAME_WITH_NUL) t[1].name = "t\0o", t[1].name_len = 3;
    if (d == FINE_NAME_63) t[1].name = name_64, t[1].name_len = 63;
    if (d == BAD_NAME_64) t[1].name = name_64, t[1].name_len = 64;
}

static inline void spoil_offset(made_array *t, defect d)
{
    if (d == BAD_OFFSET_UNALIGNED) t[1].offset += 1;
    if (d == BAD_OFFSET_BEYOND) t[1].offset = 1 << 20;
    if (d == BAD_OFFSET_WRAPS) t[1].offset = UINT64_MAX - 31;
    if (d == BAD_OVERLAP) t[2].offset -= 32; /* two is 36 bytes long */
    if (d == BAD_SHARED) t[1].offset = t[0].offset;
    if (d == FINE_GAP) t[2].offset += 32;
}

static inline uint64_t pad_to(uint64_t n, uint64_t a)
{
    return (n + a - 1) / a * a;
}

static inline uint64_t layout(made_array *t, uint64_t alignment, defect d)
{
    uint64_t end = 0;
    for (int i = 0; i < MADE_ARRAYS; i++) {
        t[i].offset = end;
        end = pad_to(end + t[i].bytes, alignment);
    }
    if (d == FINE_REORDERED) { /* one behind two: 36 -> 64 bytes, then 8 -> 32 */
        t[1].offset = 0;
        t[0].offset = 64;
    }
    if (d == FINE_GAP) end += 32;
    return end;
}

static inline void put_infos(bytes *b, const made_array *t)
{
    for (int i = 0; i < MADE_ARRAYS; i++) {
        put_u64(b, t[i].name_len);
        put(b, t[i].name, t[i].name_len);
        put_u32(b, t[i].dims);
        for (uint32_t k = 0; k < t[i].dims; k++) put_u64(b, t[i].ne[k]);
        put_u32(b, t[i].type);
        put_u64(b, t[i].offset);
    }
}

static inline uint64_t spoil_count(uint64_t n, defect d, defect huge, defect negative, defect more)
{
    if (d == huge) return UINT64_C(1) << 60;
    if (d == negative) return UINT64_MAX;
    return d == more ? n + 1 : n;
}

static inline uint32_t made_version(defect d)
{
    switch (d) {
    case FINE_VERSION_2: return 2;
    case BAD_VERSION_0: return 0;
    case BAD_VERSION_1: return 1;
    case BAD_VERSION_4: return 4;
    case BAD_BIG_ENDIAN: return UINT32_C(3) << 24;
    default: return 3;
    }
}

/* Three arrays: "one" F32 {2}, "two" F16 {3, 6, 1}, "three" Q8_0 {32, 2}. */
static inline bytes gguf_with(defect d)
{
    made_array t[MADE_ARRAYS] = {
        { "one", 3, 1, { 2 }, 0, 0, 8 },
        { "two", 3, 3, { 3, 6, 1 }, 1, 0, 36 },
        { "three", 5, 2, { 32, 2 }, 8, 0, 68 },
    };
    const uint64_t alignment = d == FINE_ALIGNMENT_64 ? 64 : d == FINE_ALIGNMENT_1 ? 1 : 32;
    const uint64_t count = d == FINE_NO_ARRAYS || d == BAD_DATA_BEYOND ? 0 : MADE_ARRAYS;
    bytes b = { 0 }, keys = { 0 };
    uint64_t data_bytes, key_count = put_keys(&keys, d);
    size_t data;

    spoil_array(t, d);
    data_bytes = layout(t, alignment, d);
    spoil_offset(t, d);
    put(&b, d == BAD_MAGIC ? "GGUX" : "GGUF", 4);
    put_u32(&b, made_version(d));
    put_u64(&b, spoil_count(count, d, BAD_ARRAYS_HUGE, BAD_ARRAYS_NEGATIVE, BAD_ARRAYS_ONE_MORE));
    put_u64(&b, spoil_count(key_count, d, BAD_KEYS_HUGE, BAD_KEYS_NEGATIVE, BAD_KEYS_ONE_MORE));
    put(&b, keys.data, keys.len);
    data = b.len;
    if (count) put_infos(&b, t);
    if (d == BAD_DIMS_HUGE) memset(b.data + data + 8 + t[0].name_len, 0xff, 4);
    free(keys.data);

    if (d == BAD_DATA_BEYOND) {
        if (b.len % 32 == 0) abort();
        return b;
    }
    put_zeros(&b, (size_t)(pad_to(b.len, alignment) - b.len));
    data = b.len;
    if (count) put_zeros(&b, (size_t)data_bytes);
    for (size_t i = data; i < b.len; i++) b.data[i] = (uint8_t)(i - data);
    if (d == FINE_NO_LAST_PADDING) b.len = data + (size_t)t[2].offset + (size_t)t[2].bytes;
    if (d == BAD_DATA_CUT) b.len = data + (size_t)t[2].offset + (size_t)t[2].bytes - 1;
    if (d == FINE_TRAILING) put(&b, "stowaway", 8);
    return b;
}
#endif
