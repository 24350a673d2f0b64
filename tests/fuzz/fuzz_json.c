/* The JSON door: what it accepts, cJSON has read alike; splicing keeps it acceptable. */
#include "fuzz.h"
#include "base/json.h"
#include "base/text.h"
#include <stdlib.h>
#include <string.h>

/* Setting and removing a member must leave a text that the door accepts. */
static void edit(const char *text, size_t len, const cJSON *tree)
{
    static const char *const names[] = { "a", "quantization_config" };
    glmq_text t = { 0 };
    glmq_error err;
    if (!cJSON_IsObject(tree)) return;
    glmq_text_add_n(&t, text, len);
    for (int step = 0; step < 4; step++) {
        const char *name = names[step / 2], *value = step % 2 ? NULL : "{\"bits\": 4}";
        cJSON *again = NULL;
        glmq_json_member m;
        if (glmq_json_splice(&t, name, value, &err)) fuzz_broken(err.msg);
        if (glmq_json_parse(&again, t.data, t.len, 0, &err)) fuzz_broken(err.msg);
        if (glmq_json_find(t.data, t.len, name, &m) != (value != NULL))
            fuzz_broken("a member that was set is not found, or one that was removed is");
        if ((cJSON_GetObjectItemCaseSensitive(again, name) != NULL) != (value != NULL))
            fuzz_broken("the tree does not have what was set");
        cJSON_Delete(again);
    }
    glmq_text_free(&t);
}

/* Walking the text must give the members that the tree has. */
static void walk(const char *text, size_t len, const cJSON *tree)
{
    const cJSON *n = cJSON_IsObject(tree) ? tree->child : NULL;
    glmq_json_member m;
    size_t at = 0;
    for (; glmq_json_next(text, len, &at, &m); n = n->next) {
        char *key = malloc(m.value_begin - m.begin);
        size_t got;
        if (!key) abort();
        got = glmq_json_unescape(text + m.begin, key, m.value_begin - m.begin);
        if (!n || strlen(n->string) != got || memcmp(n->string, key, got))
            fuzz_broken("a member under another name than the tree has");
        free(key);
        if (cJSON_IsString(n) != (text[m.value_begin] == '"') ||
            cJSON_IsObject(n) != (text[m.value_begin] == '{') ||
            cJSON_IsArray(n) != (text[m.value_begin] == '['))
            fuzz_broken("a member of another kind than the tree has");
    }
    if (n) fuzz_broken("the tree has more members than the walk finds");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len ? len : 1); /* no terminator: reading behind the end shows */
    cJSON *tree = NULL, *loose = NULL;
    glmq_error err;
    if (!text) return 0;
    if (len) memcpy(text, data, len);
    if (glmq_json_parse(&tree, text, len, 0, &err) == GLMQ_OK) {
        uint64_t v;
        edit(text, len, tree);
        walk(text, len, tree);
        if (glmq_json_check(text, len, 0, &err)) fuzz_broken("a tree of what is refused");
        for (const cJSON *n = tree->child; n; n = n->next) glmq_json_u64(n, &v);
        (void)glmq_json_string(tree, "a.b");
    } else if (tree) {
        fuzz_broken("a tree in spite of an error");
    }
    if (glmq_json_parse(&loose, text, len, GLMQ_JSON_ALLOW_DUPLICATES, &err) && tree)
        fuzz_broken("refused only where more is allowed");
    cJSON_Delete(loose);
    cJSON_Delete(tree);
    free(text);
    return 0;
}
