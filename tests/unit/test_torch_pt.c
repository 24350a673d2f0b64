/* PyTorch files as torch.save() writes them (tests/data/torch-pt), and what is no codebook. */
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/dtype.h"
#include "readers/torch_pt.h"
#include "support.h"

typedef struct pt {
    char *data;
    size_t len;
} pt;

static pt load(const char *name)
{
    char path[1024];
    pt p;

    snprintf(path, sizeof path, "%s/torch-pt/%s.pt", getenv("GLMQ_DATA"), name);
    p.data = slurp(path, &p.len);
    return p;
}

static double value_at(const glmq_torch_array *a, size_t i)
{
    double d;

    if (a->dtype == GLMQ_DT_F16) return (double)f32_from_f16(load_le16(a->data + 2 * i));
    if (a->dtype == GLMQ_DT_BF16) return (double)f32_from_bf16(load_le16(a->data + 2 * i));
    if (a->dtype == GLMQ_DT_F32) return (double)f32_from_bits(load_le32(a->data + 4 * i));
    memcpy(&d, a->data + 8 * i, sizeof d);
    return d;
}

/* Every file holds i / 8 - 3. */
static void arrays_of_every_float_type_are_found(void **state)
{
    static const struct {
        const char *name;
        glmq_dtype dtype;
    } files[] = {
        { "f32", GLMQ_DT_F32 },        { "f16", GLMQ_DT_F16 },       { "bf16", GLMQ_DT_BF16 },
        { "f64", GLMQ_DT_F64 },        { "parameter", GLMQ_DT_F32 }, { "protocol4", GLMQ_DT_F32 },
        { "dictionary", GLMQ_DT_F32 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const pt p = load(files[i].name);
        glmq_torch_array a;
        glmq_error err;

        if (glmq_torch_find((const uint8_t *)p.data, p.len, 16, 4, &a, &err))
            fail_msg("%s: %s", files[i].name, err.msg);
        assert_int_equal(a.dtype, files[i].dtype);
        for (size_t k = 0; k < 64; k++) assert_true(value_at(&a, k) == (double)k / 8 - 3);
        free(p.data);
    }
}

static void what_could_be_misread_is_refused(void **state)
{
    static const struct {
        const char *name, *text;
    } files[] = {
        { "two", "more than one array could be a codebook of 16 entries of 4; it holds data/0 of "
                 "256 bytes, data/1 of 256 bytes, FloatStorage" },
        { "integers", "is no floats" },
        { "turned", "a view of another shape" },
        { "slice", "no array could be a codebook of 16 entries of 4; it holds data/0 of 512" },
        { "offset", "no array could be" },
        { "old", "before PyTorch 1.6" },
        { "deflated", "is compressed" },
        { "big-endian", "does not say \"little\"" },
        { "no-pickle", "no member data.pkl" },
        { "checksum", "CRC" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const pt p = load(files[i].name);
        glmq_torch_array a;
        glmq_error err;

        assert_int_not_equal(glmq_torch_find((const uint8_t *)p.data, p.len, 16, 4, &a, &err),
                             GLMQ_OK);
        if (!strstr(err.msg, files[i].text)) fail_msg("%s: %s", files[i].name, err.msg);
        assert_null(a.data);
        free(p.data);
    }
}

static void another_size_is_not_taken(void **state)
{
    const pt p = load("f32");
    glmq_torch_array a;
    (void)state;
    assert_int_equal(glmq_torch_find((const uint8_t *)p.data, p.len, 16, 8, &a, NULL),
                     GLMQ_E_FORMAT);
    assert_int_equal(glmq_torch_find((const uint8_t *)p.data, p.len, 4, 16, &a, NULL),
                     GLMQ_E_FORMAT); /* the right number of floats, another shape */
    assert_int_equal(glmq_torch_find((const uint8_t *)p.data, p.len, UINT64_MAX, 4, &a, NULL),
                     GLMQ_E_LIMIT);
    assert_int_equal(glmq_torch_find((const uint8_t *)p.data, 0, 16, 4, &a, NULL), GLMQ_E_FORMAT);
    free(p.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_of_every_float_type_are_found),
        cmocka_unit_test(what_could_be_misread_is_refused),
        cmocka_unit_test(another_size_is_not_taken),
    };
    return cmocka_run_group_tests_name("torch_pt", tests, NULL, NULL);
}
