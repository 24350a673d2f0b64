/* The tokenizer as data: tokenizer.json and GGUF metadata, both ways. */
#include "gguf_file.h"
#include "models/vocab.h"

static const char tiny[] =
    "{\"version\":\"1.0\",\"added_tokens\":["
    "{\"id\":4,\"content\":\"<|user|>\",\"special\":false},"
    "{\"id\":5,\"content\":\"<think>\",\"special\":false},"
    "{\"id\":6,\"content\":\"[gMASK]\",\"special\":true}],"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120a\":3},"
    "\"merges\":[\"a b\",[\" \",\"a\"]]}}";

static glmq_status from_text(glmq_vocab *v, glmq_arena *arena, const char *text, uint64_t rows,
                             glmq_error *err)
{
    const glmq_vocab_files files = { .tokenizer = text, .tokenizer_len = strlen(text) };
    return glmq_vocab_from_files(v, arena, &files, rows, err);
}

static void assert_token(const glmq_vocab *v, size_t id, const char *text, int type)
{
    assert_int_equal(v->tokens[id].len, strlen(text));
    assert_memory_equal(v->tokens[id].s, text, strlen(text));
    assert_int_equal(v->types[id], type);
}

static void pads_to_the_rows_of_the_model(void **state)
{
    glmq_arena arena = { 0 };
    glmq_vocab v;
    (void)state;
    assert_int_equal(from_text(&v, &arena, tiny, 9, NULL), GLMQ_OK);
    assert_int_equal(v.count, 9);
    assert_token(&v, 3,
                 "\xc4\xa0"
                 "a",
                 TOKEN_NORMAL);
    assert_token(&v, 7, "[PAD7]", TOKEN_UNUSED);
    assert_token(&v, 8, "[PAD8]", TOKEN_UNUSED);
    glmq_arena_free(&arena);
}

static void takes_framed_texts_for_control_tokens(void **state)
{
    glmq_arena arena = { 0 };
    glmq_vocab v;
    (void)state;
    assert_int_equal(from_text(&v, &arena, tiny, 0, NULL), GLMQ_OK);
    assert_int_equal(v.count, 7);
    assert_token(&v, 4, "<|user|>", TOKEN_CONTROL);
    assert_token(&v, 5, "<think>", TOKEN_USER);
    assert_token(&v, 6, "[gMASK]", TOKEN_CONTROL);
    assert_int_equal(v.eot, 4);
    assert_int_equal(v.bos, 6);
    assert_int_equal(v.eos, -1);
    glmq_arena_free(&arena);
}

static void reads_merges_as_text_and_as_pairs(void **state)
{
    glmq_arena arena = { 0 };
    glmq_vocab v;
    (void)state;
    assert_int_equal(from_text(&v, &arena, tiny, 0, NULL), GLMQ_OK);
    assert_int_equal(v.merge_count, 2);
    assert_string_equal(v.merges[0].s, "a b");
    assert_string_equal(v.merges[1].s, "\xc4\xa0 a"); /* a space inside a part is U+0120 */
    glmq_arena_free(&arena);
}

static void refuses_malformed_tokenizers(void **state)
{
#define MODEL(vocab, merges)                                                                       \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "}}"
    static const struct {
        const char *text;
        glmq_status status;
        const char *says;
    } cases[] = {
        { MODEL("{\"a\":7}", "[]"), GLMQ_E_FORMAT, "token \"a\" has id 7, the model has 4" },
        { MODEL("{\"a\":9007199254740992}", "[]"), GLMQ_E_FORMAT, "the model has 4" },
        { MODEL("{\"a\":-1}", "[]"), GLMQ_E_FORMAT, "its id is no whole number" },
        { MODEL("{\"a\":1.5}", "[]"), GLMQ_E_FORMAT, "its id is no whole number" },
        { MODEL("{\"a\":\"1\"}", "[]"), GLMQ_E_FORMAT, "its id is no whole number" },
        { MODEL("{\"a\":1,\"b\":1}", "[]"), GLMQ_E_FORMAT, "\"a\" and \"b\" have the same id 1" },
        { MODEL("{\"[PAD2]\":1}", "[]"), GLMQ_E_FORMAT, "tokens 1 and 2 are both \"[PAD2]\"" },
        { MODEL("{\"a\":0}", "[1]"), GLMQ_E_FORMAT, "merge 0 is neither a text nor a pair" },
        { MODEL("{\"a\":0}", "[\"ab\"]"), GLMQ_E_FORMAT, "merge 0 \"ab\" is no pair" },
        { MODEL("{\"a\":0}", "[\"a b c\"]"), GLMQ_E_FORMAT, "is no pair" },
        { MODEL("{\"a\":0}", "[[\"a\"]]"), GLMQ_E_FORMAT, "merge 0 is neither" },
        { MODEL("{\"a\":0}", "{}"), GLMQ_E_FORMAT, "model.merges is absent, or no array" },
        { MODEL("[]", "[]"), GLMQ_E_FORMAT, "model.vocab is absent, or no object" },
        { "{\"model\":{\"type\":\"Unigram\"}}", GLMQ_E_UNSUPPORTED, "only BPE is known" },
        { "{\"added_tokens\":3,"
          "\"model\":{\"vocab\":{},\"merges\":[]}}",
          GLMQ_E_FORMAT, "added_tokens is no array" },
        { "{\"added_tokens\":[{\"id\":1}],\"model\":{\"vocab\":{},\"merges\":[]}}", GLMQ_E_FORMAT,
          "an added token has no content" },
        { "{\"added_tokens\":[{\"content\":\"x\"}],\"model\":{\"vocab\":{},\"merges\":[]}}",
          GLMQ_E_FORMAT, "its id is no whole number" },
        { "{", GLMQ_E_FORMAT, "tokenizer.json" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        glmq_arena arena = { 0 };
        glmq_error err = { 0 };
        glmq_vocab v;
        assert_int_equal(from_text(&v, &arena, cases[i].text, 4, &err), cases[i].status);
        if (!strstr(err.msg, cases[i].says)) fail_msg("case %zu says: %s", i, err.msg);
        glmq_arena_free(&arena);
    }
}

static void refuses_ids_that_would_need_too_much_memory(void **state)
{
    glmq_arena arena = { 0 };
    glmq_error err;
    glmq_vocab v;
    (void)state;
    assert_int_equal(from_text(&v, &arena, MODEL("{\"a\":4000000000}", "[]"), 0, &err),
                     GLMQ_E_LIMIT);
    glmq_arena_free(&arena);
}

static void takes_the_chat_template_of_a_list(void **state)
{
    static const char config[] =
        "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"T\"},"
        "{\"name\":\"default\",\"template\":\"D\"}],\"add_bos_token\":true}";
    const glmq_vocab_files files = { .tokenizer = tiny,
                                     .tokenizer_len = strlen(tiny),
                                     .tokenizer_config = config,
                                     .tokenizer_config_len = strlen(config) };
    glmq_arena arena = { 0 };
    glmq_vocab v;
    (void)state;
    assert_int_equal(glmq_vocab_from_files(&v, &arena, &files, 0, NULL), GLMQ_OK);
    assert_string_equal(v.chat_template, "D");
    assert_int_equal(v.template_count, 1);
    assert_string_equal(v.templates[0].name, "tool_use");
    assert_string_equal(v.templates[0].text, "T");
    assert_int_equal(v.add_bos, 1);
    assert_int_equal(v.add_eos, 0);
    glmq_arena_free(&arena);
}

/* ---- there and back ---- */

static void assert_same_texts(const glmq_vocab_text *a, const glmq_vocab_text *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(a[i].len, b[i].len);
        assert_memory_equal(a[i].s, b[i].s, a[i].len);
    }
}

static void assert_same_vocab(const glmq_vocab *a, const glmq_vocab *b)
{
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->pre, b->pre);
    assert_int_equal(a->count, b->count);
    assert_same_texts(a->tokens, b->tokens, a->count);
    assert_memory_equal(a->types, b->types, a->count);
    assert_int_equal(a->merge_count, b->merge_count);
    assert_same_texts(a->merges, b->merges, a->merge_count);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->eos, b->eos);
    assert_int_equal(a->pad, b->pad);
    assert_int_equal(a->unk, b->unk);
    assert_int_equal(a->eot, b->eot);
    assert_int_equal(a->eom, b->eom);
    assert_int_equal(a->add_bos, b->add_bos);
    assert_int_equal(a->add_eos, b->add_eos);
    assert_int_equal(a->chat_template_len, b->chat_template_len);
    if (a->chat_template)
        assert_memory_equal(a->chat_template, b->chat_template, a->chat_template_len);
}

static void comes_back_from_metadata_as_it_went(void **state)
{
    glmq_arena arena = { 0 };
    glmq_gguf_kv kv = { 0 };
    glmq_vocab v, back;
    gguf_file f;
    (void)state;
    assert_int_equal(from_text(&v, &arena, tiny, 9, NULL), GLMQ_OK);
    v.chat_template = "{{ x }}";
    v.chat_template_len = 7;
    v.templates = &(glmq_vocab_template){ "rag", "R", 1 };
    v.template_count = 1;
    assert_int_equal(glmq_vocab_to_gguf(&kv, &v, NULL), GLMQ_OK);
    f = gguf_file_open(&kv);
    assert_int_equal(glmq_vocab_from_gguf(&back, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_same_vocab(&v, &back);
    assert_int_equal(back.template_count, 1);
    assert_string_equal(back.templates[0].name, "rag");
    assert_string_equal(back.templates[0].text, "R");
    gguf_file_close(&f);
    glmq_arena_free(&arena);
}

static glmq_status open_kv(glmq_gguf_kv *kv, glmq_error *err)
{
    glmq_arena arena = { 0 };
    glmq_vocab v;
    gguf_file f = gguf_file_open(kv);
    const glmq_status st = glmq_vocab_from_gguf(&v, &arena, f.cat->gguf, err);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
    return st;
}

static void put_tokens(glmq_gguf_kv *kv, uint64_t n)
{
    glmq_gguf_put_string(kv, "tokenizer.ggml.model", "gpt2", 4);
    glmq_gguf_put_array(kv, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (uint64_t i = 0; i < n; i++) glmq_gguf_add_string(kv, &"abcdefgh"[i], 1);
    glmq_gguf_put_array(kv, "tokenizer.ggml.merges", GGUF_STRING, 0);
}

static void refuses_metadata_that_contradict(void **state)
{
    glmq_gguf_kv kv = { 0 };
    glmq_error err;
    (void)state;
    put_tokens(&kv, 2);
    glmq_gguf_put_u32(&kv, "tokenizer.ggml.eos_token_id", 2);
    assert_int_equal(open_kv(&kv, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "tokenizer.ggml.eos_token_id is 2, there are 2 tokens");

    put_tokens(&kv, 2);
    glmq_gguf_put_array(&kv, "tokenizer.ggml.token_type", GGUF_I32, 1);
    glmq_text_add_n(&kv.data, "\1\0\0\0", 4);
    assert_int_equal(open_kv(&kv, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "tokenizer.ggml.token_type has 1 entries, there are 2 tokens");

    put_tokens(&kv, 1);
    glmq_gguf_put_array(&kv, "tokenizer.ggml.token_type", GGUF_I32, 1);
    glmq_text_add_n(&kv.data, "\7\0\0\0", 4);
    assert_int_equal(open_kv(&kv, &err), GLMQ_E_FORMAT);

    glmq_gguf_put_string(&kv, "tokenizer.ggml.model", "llama", 5);
    assert_int_equal(open_kv(&kv, &err), GLMQ_E_UNSUPPORTED);
}

static void takes_an_id_of_all_ones_for_none(void **state)
{
    glmq_gguf_kv kv = { 0 };
    (void)state;
    put_tokens(&kv, 2);
    glmq_gguf_put_u32(&kv, "tokenizer.ggml.padding_token_id", UINT32_MAX);
    assert_int_equal(open_kv(&kv, NULL), GLMQ_OK);
}

static void rebuilds_tokenizer_json_for_glm4_only(void **state)
{
    glmq_arena arena = { 0 };
    glmq_text out = { 0 };
    glmq_error err;
    glmq_vocab v;
    (void)state;
    assert_int_equal(from_text(&v, &arena, tiny, 0, NULL), GLMQ_OK);
    v.pre = "llama-bpe";
    assert_int_equal(glmq_vocab_to_tokenizer_json(&out, &v, &err), GLMQ_E_UNSUPPORTED);
    v.pre = "glm4";
    v.tokens[0] = (glmq_vocab_text){ "\xff", 1 };
    assert_int_equal(glmq_vocab_to_tokenizer_json(&out, &v, &err), GLMQ_E_UNSUPPORTED);
    glmq_text_free(&out);
    glmq_arena_free(&arena);
}

/* ---- fixtures ---- */

static char *side(const char *model, const char *name, size_t *len)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", getenv("GLMQ_FIXTURES"), model, name);
    return slurp(path, len);
}

static void read_fixture(glmq_vocab *v, glmq_arena *arena, const char *model)
{
    glmq_vocab_files f = { 0 };
    f.tokenizer = side(model, "tokenizer.json", &f.tokenizer_len);
    f.tokenizer_config = side(model, "tokenizer_config.json", &f.tokenizer_config_len);
    f.chat_template = side(model, "chat_template.jinja", &f.chat_template_len);
    assert_int_equal(glmq_vocab_from_files(v, arena, &f, 2048, NULL), GLMQ_OK);
    free((void *)(uintptr_t)f.tokenizer);
    free((void *)(uintptr_t)f.tokenizer_config);
    free((void *)(uintptr_t)f.chat_template);
}

/* The metadata of the GGUF fixtures were written by llama.cpp's own converter. */
static void makes_what_the_converter_of_llama_cpp_makes(void **state)
{
    static const char *const files[][2] = {
        { "glm47-bf16", "glm47-gguf-q8_0/glm47-q8_0.gguf" },
        { "glm47flash-bf16", "glm47flash-gguf-q4_k_m/glm47flash-q4_k_m.gguf" },
        { "glm5-bf16", "glm5-gguf-q4_k_m/glm5-q4_k_m.gguf" },
    };
    (void)state;
    skip_without_fixtures();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        glmq_arena arena = { 0 };
        glmq_vocab ours, theirs;
        gguf_file f = gguf_fixture_open(files[i][1]);
        read_fixture(&ours, &arena, files[i][0]);
        assert_int_equal(glmq_vocab_from_gguf(&theirs, &arena, f.cat->gguf, NULL), GLMQ_OK);
        assert_same_vocab(&ours, &theirs);
        gguf_file_close(&f);
        glmq_arena_free(&arena);
    }
}

static void rebuilds_the_published_tokenizer_json_to_the_byte(void **state)
{
    glmq_arena arena = { 0 };
    glmq_text out = { 0 };
    glmq_vocab v;
    gguf_file f;
    size_t len;
    char *original;
    (void)state;
    skip_without_fixtures();
    f = gguf_fixture_open("glm47-gguf-q8_0/glm47-q8_0.gguf");
    original = side("glm47-bf16", "tokenizer.json", &len);
    assert_int_equal(glmq_vocab_from_gguf(&v, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_int_equal(glmq_vocab_to_tokenizer_json(&out, &v, NULL), GLMQ_OK);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, original, len);
    free(original);
    glmq_text_free(&out);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
}

/* All keys and values of the published file but model_max_length, which a GGUF has as the
 * context's length. */
static void rebuilds_the_published_tokenizer_config(void **state)
{
    glmq_arena arena = { 0 };
    glmq_text out = { 0 };
    cJSON *ours = NULL, *theirs = NULL;
    glmq_vocab v;
    gguf_file f;
    size_t len;
    char *original;
    (void)state;
    skip_without_fixtures();
    f = gguf_fixture_open("glm47-gguf-q8_0/glm47-q8_0.gguf");
    original = side("glm47-bf16", "tokenizer_config.json", &len);
    assert_int_equal(glmq_vocab_from_gguf(&v, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_int_equal(glmq_vocab_to_tokenizer_config(&out, &v, NULL), GLMQ_OK);
    assert_int_equal(glmq_json_parse(&ours, out.data, out.len, 0, NULL), GLMQ_OK);
    assert_int_equal(glmq_json_parse(&theirs, original, len, 0, NULL), GLMQ_OK);
    assert_int_equal(cJSON_GetObjectItem(ours, "model_max_length")->valuedouble, 202752);
    cJSON_DeleteItemFromObject(ours, "model_max_length");
    cJSON_DeleteItemFromObject(theirs, "model_max_length");
    assert_true(cJSON_Compare(ours, theirs, 1));
    cJSON_Delete(ours);
    cJSON_Delete(theirs);
    free(original);
    glmq_text_free(&out);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pads_to_the_rows_of_the_model),
        cmocka_unit_test(takes_framed_texts_for_control_tokens),
        cmocka_unit_test(reads_merges_as_text_and_as_pairs),
        cmocka_unit_test(refuses_malformed_tokenizers),
        cmocka_unit_test(refuses_ids_that_would_need_too_much_memory),
        cmocka_unit_test(takes_the_chat_template_of_a_list),
        cmocka_unit_test(comes_back_from_metadata_as_it_went),
        cmocka_unit_test(refuses_metadata_that_contradict),
        cmocka_unit_test(takes_an_id_of_all_ones_for_none),
        cmocka_unit_test(rebuilds_tokenizer_json_for_glm4_only),
        cmocka_unit_test(makes_what_the_converter_of_llama_cpp_makes),
        cmocka_unit_test(rebuilds_the_published_tokenizer_json_to_the_byte),
        cmocka_unit_test(rebuilds_the_published_tokenizer_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
