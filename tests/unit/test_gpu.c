/* gpu: what the C face promises with and without devices. */
#include "gpu/gpu.h"
#include "support.h"

static void a_device_that_is_not_there_is_an_error(void **state)
{
    glmq_gpu_info info;
    glmq_error err;
    (void)state;
    assert_true(glmq_gpu_count() >= 0);
    assert_int_equal(glmq_gpu_describe(glmq_gpu_count(), &info, &err), GLMQ_E_DEVICE);
    assert_true(strncmp(err.msg, "device ", 7) == 0);
    assert_string_equal(info.name, "");
}

static void every_device_has_a_name_and_memory(void **state)
{
    (void)state;
    if (glmq_gpu_count() == 0) {
        puts("skipped: no GPU, or built without CUDA");
        skip();
    }
    for (int i = 0; i < glmq_gpu_count(); i++) {
        glmq_gpu_info info;
        glmq_error err;
        assert_int_equal(glmq_gpu_describe(i, &info, &err), GLMQ_OK);
        assert_true(info.name[0] != '\0');
        assert_true(info.major >= 5 && info.memory > 0 && info.memory_free <= info.memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_is_not_there_is_an_error),
        cmocka_unit_test(every_device_has_a_name_and_memory),
    };
    return cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
}
