/* Hugging Face writers: container layout, config.json, ignore lists, patterns, shards.
 *
 * writers/reference.safetensors was written by the safetensors package itself. */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/safe.h"
#include "convert/plan.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- helpers ---- */

static char *read_all(const char *folder, const char *name, size_t *len)
{
    char path[4096];
    FILE *f;
    char *data;
    long size;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    data[size] = '\0';
    *len = (size_t)size;
    return data;
}

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* A plan that has nothing but arrays. */
static void add(glmq_plan *p, const char *name, glmq_dtype dtype, uint8_t rank, uint64_t d0,
                uint64_t d1)
{
    const glmq_plan_array a = { .name = name, .dtype = dtype, .rank = rank, .dims = { d0, d1 } };
    uint32_t array;
    assert_int_equal(glmq_plan_add_array(p, &a, &array, NULL), GLMQ_OK);
}

static const glmq_plan_array *array_named(const glmq_plan *p, const char *name)
{
    for (size_t i = 0; i < p->arrays.count; i++)
        if (strcmp(p->arrays.at[i].name, name) == 0) return &p->arrays.at[i];
    fail_msg("no array %s", name);
    return NULL;
}

static const char *text_named(const glmq_plan *p, const char *name)
{
    for (size_t i = 0; i < p->texts.count; i++)
        if (strcmp(p->texts.at[i].name, name) == 0) return p->texts.at[i].data;
    return NULL;
}

static int copied(const glmq_plan *p, const char *name)
{
    for (size_t i = 0; i < p->copies.count; i++)
        if (strcmp(p->copies.at[i].name, name) == 0) return 1;
    return 0;
}

/* A bare plan lives on the heap, so that glmq_plan_close() can end it. */
static glmq_plan *bare(void)
{
    glmq_plan *p = glmq_alloc_zero(1, sizeof *p);
    assert_non_null(p);
    return p;
}

/* A checkpoint opened, and a plan of it. */
typedef struct opened {
    glmq_source *source;
    glmq_graph *graph;
    glmq_recipe *recipe;
    glmq_plan *plan;
    glmq_error err;
} opened;

static glmq_status open_plan(opened *o, const char *folder, const char *to, const char *const *sets,
                             const glmq_plan_options *options)
{
    memset(o, 0, sizeof *o);
    GLMQ_TRY(glmq_source_open(&o->source, folder, NULL, &o->err));
    GLMQ_TRY(glmq_graph_open(&o->graph, o->source, NULL, &o->err));
    GLMQ_TRY(glmq_recipe_open(&o->recipe, to, &o->err));
    for (; sets && *sets; sets++)
        GLMQ_TRY(strchr(*sets, '=') ? glmq_recipe_set(o->recipe, *sets, &o->err)
                                    : glmq_recipe_keep(o->recipe, *sets, &o->err));
    return glmq_plan_open(&o->plan, o->graph, o->recipe, "/nonexistent/out", options, &o->err);
}

static void close_plan(opened *o)
{
    glmq_plan_close(o->plan);
    glmq_recipe_close(o->recipe);
    glmq_graph_close(o->graph);
    glmq_source_close(o->source);
}

static void plan_sample(opened *o, const char *to, const char *const *sets,
                        const glmq_plan_options *options)
{
    char folder[4096];
    assert_non_null(env("GLMQ_SAMPLES"));
    snprintf(folder, sizeof folder, "%s/glm4-moe-tiny", env("GLMQ_SAMPLES"));
    if (open_plan(o, folder, to, sets, options)) fail_msg("%s", o->err.msg);
}

static cJSON *config_of(const opened *o)
{
    const char *text = text_named(o->plan, "config.json");
    cJSON *json;
    assert_non_null(text);
    assert_int_equal(glmq_json_parse(&json, text, strlen(text), 0, NULL), GLMQ_OK);
    return json;
}

static void assert_list(const cJSON *list, const char *const *expected)
{
    const cJSON *at;
    assert_non_null(list);
    cJSON_ArrayForEach(at, list)
    {
        assert_non_null(*expected);
        assert_string_equal(at->valuestring, *expected++);
    }
    assert_null(*expected);
}

/* ---- the container ---- */

static void lays_out_what_the_reference_writer_lays_out(void **state)
{
    size_t len;
    char *reference = read_all(env("GLMQ_DATA"), "writers/reference.safetensors", &len);
    glmq_plan *p = bare();
    (void)state;
    assert_non_null(reference);
    add(p, "b.weight", GLMQ_DT_BF16, 2, 2, 3);
    add(p, "a.weight", GLMQ_DT_BF16, 1, 4, 0);
    add(p, "model.layers.2.x", GLMQ_DT_F32, 1, 3, 0);
    add(p, "model.layers.10.x", GLMQ_DT_F32, 1, 3, 0);
    add(p, "q.weight_shape", GLMQ_DT_I64, 1, 2, 0);
    add(p, "q.weight_packed", GLMQ_DT_I32, 2, 2, 1);
    add(p, "scalar", GLMQ_DT_F32, 0, 0, 0);
    add(p, "empty", GLMQ_DT_F16, 2, 0, 4);
    add(p, "h", GLMQ_DT_F16, 1, 5, 0);
    add(p, "quote\"back\\slash", GLMQ_DT_U8, 1, 3, 0);
    add(p, "tab\there", GLMQ_DT_I8, 1, 3, 0);
    add(p, "größe", GLMQ_DT_F8_E4M3, 1, 2, 0);
    add(p, "flag", GLMQ_DT_BOOL, 1, 2, 0);
    add(p, "e5", GLMQ_DT_F8_E5M2, 1, 1, 0);
    add(p, "d", GLMQ_DT_F64, 1, 2, 0);
    add(p, "u32", GLMQ_DT_U32, 1, 1, 0);
    add(p, "u64", GLMQ_DT_U64, 1, 1, 0);
    add(p, "u16", GLMQ_DT_U16, 1, 1, 0);
    add(p, "i16", GLMQ_DT_I16, 1, 1, 0);
    add(p, "e8", GLMQ_DT_F8_E8M0, 1, 1, 0);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, NULL), GLMQ_OK);
    assert_int_equal(p->files.count, 1);
    assert_string_equal(p->files.at[0].name, "model.safetensors");
    assert_int_equal(p->files.at[0].bytes, len);
    assert_int_equal(p->files.at[0].header_bytes, 8 + load_le64(reference));
    assert_memory_equal(p->files.at[0].header, reference, p->files.at[0].header_bytes);
    assert_int_equal(array_named(p, "scalar")->offset, p->files.at[0].header_bytes + 64);
    assert_int_equal(array_named(p, "scalar")->bytes, 4);
    assert_int_equal(array_named(p, "flag")->offset, len - 2);
    assert_int_equal(p->texts.count, 0);
    free(reference);
    glmq_plan_close(p);
}

static void sorts_metadata_keys_with_format_among_them(void **state)
{
    static const char expected[] =
        "{\"__metadata__\":{\"a\":\"1\",\"format\":\"pt\",\"z\":\"\\\"\"},"
        "\"w\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]}}";
    const glmq_st_meta meta[] = { { "z", "\"" }, { "a", "1" } };
    glmq_plan *p = bare();
    (void)state;
    add(p, "w", GLMQ_DT_BF16, 1, 4, 0);
    assert_int_equal(glmq_safetensors_layout(p, meta, 2, NULL), GLMQ_OK);
    assert_memory_equal(p->files.at[0].header + 8, expected, sizeof expected - 1);
    assert_int_equal(p->files.at[0].header_bytes % 8, 0);
    glmq_plan_close(p);
}

static void fills_shards_in_order_and_never_cuts_an_array(void **state)
{
    static const char index[] = "{\n"
                                "  \"metadata\": {\n"
                                "    \"total_size\": 12600\n"
                                "  },\n"
                                "  \"weight_map\": {\n"
                                "    \"a\": \"model-00001-of-00003.safetensors\",\n"
                                "    \"b\": \"model-00003-of-00003.safetensors\",\n"
                                "    \"c\": \"model-00001-of-00003.safetensors\",\n"
                                "    \"d\": \"model-00002-of-00003.safetensors\"\n"
                                "  }\n"
                                "}\n";
    glmq_plan *p = bare();
    (void)state;
    p->options.shard_size = 4000;
    add(p, "c", GLMQ_DT_U8, 1, 1500, 0);
    add(p, "a", GLMQ_DT_U8, 1, 1500, 0);
    add(p, "d", GLMQ_DT_U8, 1, 9000, 0); /* larger than a shard: one of its own */
    add(p, "b", GLMQ_DT_U8, 1, 600, 0);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, NULL), GLMQ_OK);
    assert_int_equal(p->files.count, 3);
    assert_string_equal(text_named(p, "model.safetensors.index.json"), index);
    assert_true(p->files.at[0].bytes <= 4000);
    assert_int_equal(array_named(p, "a")->file, 0);
    assert_int_equal(array_named(p, "a")->offset, p->files.at[0].header_bytes);
    assert_int_equal(array_named(p, "c")->offset, p->files.at[0].header_bytes + 1500);
    assert_int_equal(array_named(p, "b")->file, 2);
    assert_int_equal(array_named(p, "b")->offset, p->files.at[2].header_bytes);
    glmq_plan_close(p);
}

static void counts_the_header_into_a_shard(void **state)
{
    glmq_plan *p = bare();
    (void)state;
    p->options.shard_size = 3100;
    add(p, "a", GLMQ_DT_U8, 1, 1500, 0);
    add(p, "b", GLMQ_DT_U8, 1, 1500, 0);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, NULL), GLMQ_OK);
    assert_int_equal(p->files.count, 2); /* 3000 bytes of data would fit, not the file */
    glmq_plan_close(p);
}

static void refuses_what_the_container_cannot_say(void **state)
{
    glmq_plan *p = bare();
    glmq_error err;
    (void)state;
    add(p, "w", GLMQ_DT_U8, 1, 1, 0);
    add(p, "w", GLMQ_DT_U8, 1, 2, 0);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "w: two tensors would be stored under this name");
    glmq_plan_close(p);

    p = bare();
    add(p, "w", GLMQ_DT_Q4_0, 2, 1, 32);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, &err), GLMQ_E_UNSUPPORTED);
    glmq_plan_close(p);

    p = bare();
    add(p, "w", GLMQ_DT_F32, 2, UINT64_C(1) << 33, UINT64_C(1) << 33);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, &err), GLMQ_E_LIMIT);
    glmq_plan_close(p);

    p = bare();
    add(p, "\xff", GLMQ_DT_F32, 1, 1, 0);
    assert_int_equal(glmq_safetensors_layout(p, NULL, 0, &err), GLMQ_E_UNSUPPORTED);
    glmq_plan_close(p);
}

/* ---- config.json ---- */

static void splices_the_config_and_touches_nothing_else(void **state)
{
    opened o;
    glmq_json_member m;
    const glmq_catalog *cat;
    const char *text;
    (void)state;
    plan_sample(&o, "gptq:group=32", NULL, NULL);
    cat = o.graph->catalog;
    text = text_named(o.plan, "config.json");
    assert_int_equal(glmq_json_find(text, strlen(text), "quantization_config", &m), 1);
    /* put last: what stands in front of it is the source's text up to its last value */
    assert_memory_equal(text, cat->config_text, cat->config_len - sizeof "\n}\n" + 1);
    assert_true(m.begin >= cat->config_len - sizeof "\n}\n" + 1);
    assert_true(m.end + sizeof "\n}\n" - 1 == strlen(text));
    close_plan(&o);
}

static void leaves_the_config_alone_when_nothing_changes(void **state)
{
    static const char *const targets[] = { "same", "bf16" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        opened o;
        plan_sample(&o, targets[i], NULL, NULL);
        assert_string_equal(text_named(o.plan, "config.json"), o.graph->catalog->config_text);
        assert_true(copied(o.plan, "tokenizer.json"));
        assert_true(copied(o.plan, "chat_template.jinja"));
        assert_true(copied(o.plan, "generation_config.json"));
        assert_false(copied(o.plan, "config.json"));
        assert_false(copied(o.plan, "model.safetensors.index.json"));
        close_plan(&o);
    }
}

static void says_the_dtype_and_that_mtp_is_gone(void **state)
{
    const glmq_plan_options options = { .mtp = GLMQ_MTP_DROP };
    opened o;
    cJSON *config;
    (void)state;
    plan_sample(&o, "f16", NULL, &options);
    config = config_of(&o);
    assert_string_equal(glmq_json_string(config, "dtype"), "float16");
    assert_int_equal(glmq_json_get(config, "num_nextn_predict_layers")->valueint, 0);
    cJSON_Delete(config);
    for (size_t i = 0; i < o.plan->arrays.count; i++)
        assert_null(strstr(o.plan->arrays.at[i].name, "model.layers.2."));
    close_plan(&o);
}

/* ---- quantization_config ---- */

static void compressed_tensors_ignores_every_kept_matrix(void **state)
{
    static const char *const ignore[] = { "lm_head",
                                          "model.embed_tokens",
                                          "model.layers.1.mlp.gate",
                                          "model.layers.2.eh_proj",
                                          "model.layers.2.embed_tokens",
                                          "model.layers.2.mlp.gate",
                                          "model.layers.2.shared_head.head",
                                          NULL };
    opened o;
    cJSON *config;
    const cJSON *quant;
    (void)state;
    plan_sample(&o, "compressed-tensors:int4,group=32", NULL, NULL);
    config = config_of(&o);
    quant = glmq_json_get(config, "quantization_config");
    assert_list(glmq_json_get(quant, "ignore"), ignore);
    assert_string_equal(glmq_json_string(quant, "quant_method"), "compressed-tensors");
    assert_string_equal(glmq_json_string(quant, "quantization_status"), "compressed");
    assert_string_equal(glmq_json_string(quant, "format"), "pack-quantized");
    assert_string_equal(glmq_json_string(quant, "config_groups.group_0.format"), "pack-quantized");
    quant = glmq_json_get(quant, "config_groups.group_0.weights");
    assert_int_equal(glmq_json_get(quant, "num_bits")->valueint, 4);
    assert_int_equal(glmq_json_get(quant, "group_size")->valueint, 32);
    assert_true(cJSON_IsTrue(glmq_json_get(quant, "symmetric")));
    assert_string_equal(glmq_json_string(quant, "strategy"), "group");
    cJSON_Delete(config);
    assert_int_equal(
        array_named(o.plan, "model.layers.1.mlp.experts.3.down_proj.weight_shape")->dtype,
        GLMQ_DT_I64);
    assert_int_equal(array_named(o.plan, "model.layers.1.self_attn.q_proj.weight_scale")->dtype,
                     GLMQ_DT_BF16);
    assert_int_equal(array_named(o.plan, "model.layers.1.mlp.gate.e_score_correction_bias")->dtype,
                     GLMQ_DT_F32);
    close_plan(&o);
}

static int listed(const cJSON *list, const char *word)
{
    const cJSON *at;
    cJSON_ArrayForEach(at, list)
    {
        if (strcmp(at->valuestring, word) == 0) return 1;
    }
    return 0;
}

static void lists_the_parent_where_all_experts_of_a_layer_are_kept(void **state)
{
    static const char *const keep[] = { "model.layers.2.mlp.experts.*",
                                        "model.layers.1.mlp.experts.0.*", NULL };
    opened o;
    cJSON *config;
    const cJSON *list;
    (void)state;
    plan_sample(&o, "compressed-tensors:int4,group=32", keep, NULL);
    config = config_of(&o);
    list = glmq_json_get(config, "quantization_config.ignore");
    assert_true(listed(list, "model.layers.2.mlp.experts"));
    assert_true(listed(list, "model.layers.2.mlp.experts.3.up_proj"));
    assert_true(listed(list, "model.layers.1.mlp.experts.0.up_proj"));
    assert_false(listed(list, "model.layers.1.mlp.experts"));
    assert_false(listed(list, "model.layers.1.mlp.experts.1.up_proj"));
    cJSON_Delete(config);
    close_plan(&o);
}

static void names_the_targets_of_a_second_scheme(void **state)
{
    static const char *const rules[] = {
        "model.layers.0.self_attn.?_proj.weight=compressed-tensors:int8,channel",
        "model.layers.1.mlp.experts.*=compressed-tensors:int8,group=32,asym", NULL
    };
    static const char *const experts[] = { "re:^model\\.layers\\.1\\.mlp\\.experts(\\..+)?$",
                                           NULL };
    static const char *const attention[] = { "re:^model\\.layers\\.0\\.self_attn\\.q_proj$",
                                             "re:^model\\.layers\\.0\\.self_attn\\.qkv_proj$",
                                             "re:^model\\.layers\\.0\\.self_attn\\.k_proj$",
                                             "re:^model\\.layers\\.0\\.self_attn\\.v_proj$",
                                             "re:^model\\.layers\\.0\\.self_attn\\.o_proj$",
                                             NULL };
    opened o;
    cJSON *config;
    const cJSON *groups;
    (void)state;
    plan_sample(&o, "compressed-tensors:int4,group=32", rules, NULL);
    config = config_of(&o);
    groups = glmq_json_get(config, "quantization_config.config_groups");
    assert_list(glmq_json_get(groups, "group_0.targets"), (const char *const[]){ "Linear", NULL });
    assert_list(glmq_json_get(groups, "group_1.targets"), experts);
    assert_list(glmq_json_get(groups, "group_2.targets"), attention);
    assert_string_equal(glmq_json_string(groups, "group_1.weights.zp_dtype"), "torch.int8");
    assert_string_equal(glmq_json_string(groups, "group_2.weights.strategy"), "channel");
    assert_true(cJSON_IsNull(glmq_json_get(groups, "group_2.weights.group_size")));
    cJSON_Delete(config);
    close_plan(&o);
}

static void gptq_lists_kept_and_unlike_modules_by_patterns(void **state)
{
    static const char *const rules[] = { "experts.down=gptq:bits=8,group=-1",
                                         "model.layers.0.mlp.*=bf16", NULL };
    static const char expected[] =
        "{\n"
        "  \"bits\": 4,\n"
        "  \"checkpoint_format\": \"gptq_v2\",\n"
        "  \"desc_act\": false,\n"
        "  \"dynamic\": {\n"
        "    \"-:^model\\\\.embed_tokens$\": {},\n"
        "    \"-:^lm_head$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.0\\\\.mlp\\\\.gate_proj$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.0\\\\.mlp\\\\.gate_up_proj$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.0\\\\.mlp\\\\.up_proj$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.0\\\\.mlp\\\\.down_proj$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.1\\\\.mlp\\\\.gate$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.2\\\\.mlp\\\\.gate$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.2\\\\.eh_proj$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.2\\\\.embed_tokens$\": {},\n"
        "    \"-:^model\\\\.layers\\\\.2\\\\.shared_head\\\\.head$\": {},\n"
        "    \"+:^model\\\\.layers\\\\.1\\\\.mlp\\\\.experts\\\\.\\\\d+\\\\.down_proj$\": "
        "{\"bits\": 8, \"group_size\": -1},\n"
        "    \"+:^model\\\\.layers\\\\.2\\\\.mlp\\\\.experts\\\\.\\\\d+\\\\.down_proj$\": "
        "{\"bits\": 8, \"group_size\": -1}\n"
        "  },\n"
        "  \"group_size\": 32,\n"
        "  \"lm_head\": false,\n"
        "  \"pack_dtype\": \"int32\",\n"
        "  \"quant_method\": \"gptq\",\n"
        "  \"sym\": true\n"
        "}\n";
    opened o;
    cJSON *config, *copy;
    (void)state;
    plan_sample(&o, "gptq:bits=4,group=32,v2", rules, NULL);
    assert_string_equal(text_named(o.plan, "quantize_config.json"), expected);
    config = config_of(&o);
    assert_int_equal(glmq_json_parse(&copy, expected, sizeof expected - 1, 0, NULL), GLMQ_OK);
    assert_true(cJSON_Compare(glmq_json_get(config, "quantization_config"), copy, 1));
    cJSON_Delete(config);
    cJSON_Delete(copy);
    assert_int_equal(array_named(o.plan, "model.layers.1.mlp.shared_experts.up_proj.g_idx")->dtype,
                     GLMQ_DT_I32);
    close_plan(&o);
}

static void keeps_plain_what_the_group_does_not_divide(void **state)
{
    opened o;
    const glmq_tensor *x;
    (void)state;
    plan_sample(&o, "gptq:group=128", NULL, NULL); /* most rows have 64 columns */
    x = glmq_graph_find(o.graph, "model.layers.0.mlp.gate_proj.weight");
    assert_string_equal(o.plan->want[x - o.graph->tensors].reason,
                        "its columns are no multiple of the group");
    assert_int_equal(array_named(o.plan, x->name)->dtype, GLMQ_DT_BF16);
    assert_int_equal(array_named(o.plan, "model.layers.0.mlp.down_proj.qweight")->dtype,
                     GLMQ_DT_I32);
    close_plan(&o);
}

static void says_when_fused_partners_are_unlike(void **state)
{
    static const char *const rules[] = { "attention.k=bf16", NULL };
    opened o;
    const glmq_tensor *x;
    (void)state;
    plan_sample(&o, "gptq:group=32", rules, NULL);
    x = glmq_graph_find(o.graph, "model.layers.0.self_attn.k_proj.weight");
    assert_string_equal(o.plan->want[x - o.graph->tensors].reason,
                        "unlike attention.q, with which serving engines fuse it");
    x = glmq_graph_find(o.graph, "model.layers.0.self_attn.v_proj.weight");
    assert_null(o.plan->want[x - o.graph->tensors].reason);
    close_plan(&o);
}

static void refuses_rules_that_the_format_cannot_express(void **state)
{
    static const struct {
        const char *to, *rule;
        glmq_status status;
    } cases[] = {
        { "gptq:group=32", "experts.up=compressed-tensors:int4", GLMQ_E_UNSUPPORTED },
        { "gptq:group=32", "embed=gptq:group=32", GLMQ_E_UNSUPPORTED },
        { "compressed-tensors", "experts.up=q8_0", GLMQ_E_UNSUPPORTED },
        { "bf16", "experts.up=gptq", GLMQ_E_UNSUPPORTED },
        { "compressed-tensors:fp8", "experts.up=bf16", GLMQ_E_UNSUPPORTED },
        { "compressed-tensors:block", "experts.up=bf16", GLMQ_E_UNSUPPORTED },
        { "gptq:bits=5", "experts.up=bf16", GLMQ_E_ARG },
        { "bf16:fast", "experts.up=bf16", GLMQ_E_ARG },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const char *const rules[] = { cases[i].rule, NULL };
        char folder[4096];
        opened o;
        snprintf(folder, sizeof folder, "%s/glm4-moe-tiny", env("GLMQ_SAMPLES"));
        assert_int_equal(open_plan(&o, folder, cases[i].to, rules, NULL), cases[i].status);
        assert_true(o.err.msg[0] != '\0');
        close_plan(&o);
    }
}

static void survives_any_failed_allocation(void **state)
{
    static const char *const targets[] = { "compressed-tensors:int4,group=32", "gptq:group=32,asym",
                                           "same", "f16" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        glmq_status st = GLMQ_E_NOMEM;
        opened o;
        plan_sample(&o, targets[i], NULL, NULL);
        for (long n = 1; st; n++) {
            glmq_plan *plan;
            glmq_fail_alloc_at(n);
            st = glmq_plan_open(&plan, o.graph, o.recipe, "/nonexistent/out", NULL, &o.err);
            glmq_fail_alloc_at(0);
            /* the counter covers reads too */
            assert_true(st == GLMQ_OK || st == GLMQ_E_NOMEM || st == GLMQ_E_IO);
            assert_true((plan == NULL) == (st != GLMQ_OK));
            glmq_plan_close(plan);
        }
        close_plan(&o);
    }
}

/* ---- fixtures ---- */

static const char *fixture(const char *name)
{
    static char folder[4096];
    size_t len;
    char *text;
    if (!env("GLMQ_FIXTURES")) return NULL;
    snprintf(folder, sizeof folder, "%s/%s", env("GLMQ_FIXTURES"), name);
    text = read_all(folder, "config.json", &len);
    free(text);
    return text ? folder : NULL;
}

#define NEED(folder)                                                                               \
    if (!(folder)) {                                                                               \
        printf("skipped: no fixtures\n");                                                          \
        skip();                                                                                    \
    }

static void same_keeps_config_and_arrays_of_every_fixture(void **state)
{
    static const char *const names[] = { "glm47-bf16", "glm47-compressed-tensors-g32",
                                         "glm47-compressed-tensors-g128",
                                         "glm47flash-gptq-actorder", "glm5-gptq-autoround-reap" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(names); i++) {
        const char *folder = fixture(names[i]);
        opened o;
        NEED(folder);
        if (open_plan(&o, folder, "same", NULL, NULL)) fail_msg("%s: %s", names[i], o.err.msg);
        assert_string_equal(text_named(o.plan, "config.json"), o.graph->catalog->config_text);
        for (size_t k = 0; k < o.plan->arrays.count; k++) {
            const glmq_plan_array *a = &o.plan->arrays.at[k];
            const glmq_array *from = glmq_catalog_find(o.graph->catalog, a->name, strlen(a->name));
            assert_non_null(from);
            assert_int_equal(from->dtype, a->dtype);
            assert_int_equal(from->bytes, a->bytes);
            assert_int_equal(from->rank, a->rank);
        }
        assert_int_equal(o.plan->arrays.count + o.graph->dropped_count, o.graph->catalog->count);
        close_plan(&o);
    }
}

static void parameters_follow_a_quantized_source(void **state)
{
    static const struct {
        const char *fixture, *to, *tensor, *encoding;
    } cases[] = {
        { "glm47-compressed-tensors-g32", "gptq", "model.layers.1.mlp.experts.0.up_proj.weight",
          "gptq:bits=4,group=32,sym,scale=F16,v1" },
        { "glm47-compressed-tensors-g32", "gptq:bits=8",
          "model.layers.1.mlp.experts.0.up_proj.weight", "gptq:bits=8,group=32,sym,scale=F16,v1" },
        { "glm47-compressed-tensors-g32", "gptq", "model.layers.3.eh_proj.weight",
          "gptq:bits=4,group=32,sym,scale=F16,v1" },
        { "glm47-compressed-tensors-g128", "gptq", "model.layers.1.mlp.gate.weight", "bf16" },
        { "glm5-gptq-autoround-reap", "compressed-tensors",
          "model.layers.1.mlp.experts.0.up_proj.weight", NULL },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const char *folder = fixture(cases[i].fixture);
        const glmq_tensor *x;
        const glmq_encoding *e;
        char text[128];
        opened o;
        NEED(folder);
        if (open_plan(&o, folder, cases[i].to, NULL, NULL)) fail_msg("%s", o.err.msg);
        x = glmq_graph_find(o.graph, cases[i].tensor);
        assert_non_null(x);
        e = &o.plan->want[x - o.graph->tensors].enc;
        glmq_encoding_print(e, text, sizeof text);
        if (cases[i].encoding) {
            assert_string_equal(text, cases[i].encoding);
        } else {
            assert_int_equal(e->bits, x->part[0].enc.bits);
            assert_int_equal(e->group, x->part[0].enc.group);
            assert_int_equal(e->scale_dtype, GLMQ_DT_F16);
        }
        close_plan(&o);
    }
}

static void records_the_dtype_that_scales_had(void **state)
{
    static const char key[] = "\"glmq.scale_dtype\":\"BF16\"";
    const char *folder = fixture("glm47-compressed-tensors-g32");
    opened o;
    (void)state;
    NEED(folder);
    if (open_plan(&o, folder, "gptq", NULL, NULL)) fail_msg("%s", o.err.msg);
    assert_non_null(
        memmem(o.plan->files.at[0].header, o.plan->files.at[0].header_bytes, key, sizeof key - 1));
    close_plan(&o);
    if (open_plan(&o, folder, "compressed-tensors", NULL, NULL)) fail_msg("%s", o.err.msg);
    assert_null(
        memmem(o.plan->files.at[0].header, o.plan->files.at[0].header_bytes, key, sizeof key - 1));
    close_plan(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lays_out_what_the_reference_writer_lays_out),
        cmocka_unit_test(sorts_metadata_keys_with_format_among_them),
        cmocka_unit_test(fills_shards_in_order_and_never_cuts_an_array),
        cmocka_unit_test(counts_the_header_into_a_shard),
        cmocka_unit_test(refuses_what_the_container_cannot_say),
        cmocka_unit_test(splices_the_config_and_touches_nothing_else),
        cmocka_unit_test(leaves_the_config_alone_when_nothing_changes),
        cmocka_unit_test(says_the_dtype_and_that_mtp_is_gone),
        cmocka_unit_test(compressed_tensors_ignores_every_kept_matrix),
        cmocka_unit_test(lists_the_parent_where_all_experts_of_a_layer_are_kept),
        cmocka_unit_test(names_the_targets_of_a_second_scheme),
        cmocka_unit_test(gptq_lists_kept_and_unlike_modules_by_patterns),
        cmocka_unit_test(keeps_plain_what_the_group_does_not_divide),
        cmocka_unit_test(says_when_fused_partners_are_unlike),
        cmocka_unit_test(refuses_rules_that_the_format_cannot_express),
        cmocka_unit_test(survives_any_failed_allocation),
        cmocka_unit_test(same_keeps_config_and_arrays_of_every_fixture),
        cmocka_unit_test(parameters_follow_a_quantized_source),
        cmocka_unit_test(records_the_dtype_that_scales_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
