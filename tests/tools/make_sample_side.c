/* The side files of a sample: a small but real byte-level BPE tokenizer of GLM's form,
 * its config, a chat template, generation defaults, and the fields of config.json that
 * only one architecture has. */
#include "make_sample.h"
#include <inttypes.h>
#include <string.h>

enum { BYTES = 256 };

/* Merges in order of rank; ' ' and '\n' stand for themselves. */
static const char *const merges[][2] = {
    { " ", " " },       { "  ", "  " }, { "h", "e" },  { "i", "n" },     { "r", "e" },
    { "o", "n" },       { "e", "r" },   { " ", "t" },  { "a", "t" },     { "e", "n" },
    { "n", "d" },       { "o", "r" },   { "e", "s" },  { " t", "he" },   { " ", "a" },
    { " ", "s" },       { " ", "w" },   { " ", "c" },  { "i", "s" },     { "i", "t" },
    { "o", "u" },       { " ", "o" },   { " ", "m" },  { "in", "g" },    { " o", "f" },
    { " a", "nd" },     { "e", "d" },   { "l", "l" },  { " ", "b" },     { " ", "p" },
    { " ", "in" },      { " t", "o" },  { "a", "l" },  { "l", "e" },     { "i", "on" },
    { " w", "e" },      { "i", "g" },   { "ig", "h" }, { " we", "igh" }, { "t", "s" },
    { " weigh", "ts" }, { "v", "er" },  { " m", "o" }, { "\n", "\n" },
};
enum { MERGES = sizeof merges / sizeof *merges };

static const struct added {
    const char *content;
    int special;
} added[] = {
    { "<|endoftext|>", 1 },
    { "[MASK]", 1 },
    { "[gMASK]", 1 },
    { "[sMASK]", 1 },
    { "<sop>", 1 },
    { "<eop>", 1 },
    { "<|system|>", 1 },
    { "<|user|>", 1 },
    { "<|assistant|>", 1 },
    { "<|observation|>", 1 },
    { "<|begin_of_image|>", 1 },
    { "<|end_of_image|>", 1 },
    { "<|begin_of_video|>", 1 },
    { "<|end_of_video|>", 1 },
    { "<|begin_of_audio|>", 1 },
    { "<|end_of_audio|>", 1 },
    { "<|begin_of_transcription|>", 1 },
    { "<|end_of_transcription|>", 1 },
    { "<|code_prefix|>", 1 },
    { "<|code_middle|>", 1 },
    { "<|code_suffix|>", 1 },
    { "<think>", 0 },
    { "</think>", 0 },
    { "<tool_call>", 0 },
    { "</tool_call>", 0 },
    { "<tool_response>", 0 },
    { "</tool_response>", 0 },
    { "<arg_key>", 0 },
    { "</arg_key>", 0 },
    { "<arg_value>", 0 },
    { "</arg_value>", 0 },
    { "/nothink", 0 },
    { "<|begin_of_box|>", 1 },
    { "<|end_of_box|>", 1 },
    { "<|image|>", 1 },
    { "<|video|>", 1 },
};
enum { ADDED = sizeof added / sizeof *added };

unsigned special_first(void)
{
    return BYTES + MERGES;
}

unsigned vocabulary(void)
{
    return BYTES + MERGES + ADDED;
}

unsigned special_id(const char *content)
{
    for (unsigned i = 0; i < ADDED; i++)
        if (strcmp(added[i].content, content) == 0) return special_first() + i;
    die("no added token %s", content);
}

/* ---- the byte-level alphabet: printable bytes are themselves, the others, in order of
 * their value, U+0100 and up ---- */

static int printable(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static unsigned letter_of(unsigned byte)
{
    unsigned behind = 0;
    if (printable(byte)) return byte;
    for (unsigned b = 0; b < byte; b++) behind += !printable(b);
    return 256 + behind;
}

/* The alphabet's letters are below U+0800: one or two bytes of UTF-8. */
static void put_letter(FILE *f, unsigned c)
{
    if (c == '"' || c == '\\') fputc('\\', f);
    if (c < 0x80) {
        fputc((int)c, f);
    } else {
        fputc((int)(0xc0 | c >> 6), f);
        fputc((int)(0x80 | (c & 63)), f);
    }
}

static void put_letters(FILE *f, const char *s)
{
    for (; *s; s++) put_letter(f, letter_of((unsigned char)*s));
}

/* Ids follow the alphabet: printable bytes first, as their letters are numbered. */
static void write_vocab(FILE *f)
{
    unsigned id = 0;
    for (unsigned letter = 0; letter < 2 * BYTES; letter++)
        for (unsigned byte = 0; byte < BYTES; byte++) {
            if (letter_of(byte) != letter) continue;
            fputs(id ? ",\n      \"" : "\n      \"", f);
            put_letter(f, letter);
            fprintf(f, "\": %u", id++);
        }
    for (unsigned i = 0; i < MERGES; i++) {
        fputs(",\n      \"", f);
        put_letters(f, merges[i][0]);
        put_letters(f, merges[i][1]);
        fprintf(f, "\": %u", id++);
    }
}

static void write_merges(FILE *f)
{
    for (unsigned i = 0; i < MERGES; i++) {
        fputs(i ? ",\n      [\n        \"" : "\n      [\n        \"", f);
        put_letters(f, merges[i][0]);
        fputs("\",\n        \"", f);
        put_letters(f, merges[i][1]);
        fputs("\"\n      ]", f);
    }
}

static void write_added(FILE *f)
{
    for (unsigned i = 0; i < ADDED; i++)
        fprintf(f,
                "%s\n    {\n      \"id\": %u,\n      \"content\": \"%s\",\n      \"single_word\": "
                "false,\n"
                "      \"lstrip\": false,\n      \"rstrip\": false,\n      \"normalized\": false,\n"
                "      \"special\": %s\n    }",
                i ? "," : "", special_first() + i, added[i].content,
                added[i].special ? "true" : "false");
}

static const char tokenizer_middle[] =
    "\n  ],\n"
    "  \"normalizer\": null,\n"
    "  \"pre_tokenizer\": {\n"
    "    \"type\": \"Sequence\",\n"
    "    \"pretokenizers\": [\n"
    "      {\n"
    "        \"type\": \"Split\",\n"
    "        \"pattern\": {\n"
    "          \"Regex\": "
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"\n"
    "        },\n"
    "        \"behavior\": \"Isolated\",\n"
    "        \"invert\": false\n"
    "      },\n"
    "      {\n"
    "        \"type\": \"ByteLevel\",\n"
    "        \"add_prefix_space\": false,\n"
    "        \"trim_offsets\": true,\n"
    "        \"use_regex\": false\n"
    "      }\n"
    "    ]\n"
    "  },\n"
    "  \"post_processor\": {\n"
    "    \"type\": \"ByteLevel\",\n"
    "    \"add_prefix_space\": true,\n"
    "    \"trim_offsets\": false,\n"
    "    \"use_regex\": true\n"
    "  },\n"
    "  \"decoder\": {\n"
    "    \"type\": \"ByteLevel\",\n"
    "    \"add_prefix_space\": true,\n"
    "    \"trim_offsets\": true,\n"
    "    \"use_regex\": true\n"
    "  },\n"
    "  \"model\": {\n"
    "    \"type\": \"BPE\",\n"
    "    \"dropout\": null,\n"
    "    \"unk_token\": null,\n"
    "    \"continuing_subword_prefix\": null,\n"
    "    \"end_of_word_suffix\": null,\n"
    "    \"fuse_unk\": false,\n"
    "    \"byte_fallback\": false,\n"
    "    \"ignore_merges\": false,\n"
    "    \"vocab\": {";

static void write_tokenizer(const model *m)
{
    FILE *f = create(m, "tokenizer.json");
    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  "
          "\"added_tokens\": [",
          f);
    write_added(f);
    fputs(tokenizer_middle, f);
    write_vocab(f);
    fputs("\n    },\n    \"merges\": [", f);
    write_merges(f);
    fputs("\n    ]\n  }\n}\n", f);
    finish(f);
}

static void write_tokenizer_config(const model *m)
{
    FILE *f = create(m, "tokenizer_config.json");
    const char *comma = "";
    fputs("{\n  \"added_tokens_decoder\": {", f);
    for (unsigned i = 0; i < ADDED; i++)
        fprintf(f,
                "%s\n    \"%u\": {\n      \"content\": \"%s\",\n      \"lstrip\": false,\n"
                "      \"normalized\": false,\n      \"rstrip\": false,\n      \"single_word\": "
                "false,\n"
                "      \"special\": %s\n    }",
                i ? "," : "", special_first() + i, added[i].content,
                added[i].special ? "true" : "false");
    fputs("\n  },\n  \"additional_special_tokens\": [", f);
    for (unsigned i = 0; i < ADDED; i++) {
        if (!added[i].special) continue;
        fprintf(f, "%s\n    \"%s\"", comma, added[i].content);
        comma = ",";
    }
    fputs(
        "\n  ],\n  \"clean_up_tokenization_spaces\": false,\n  \"eos_token\": \"<|endoftext|>\",\n"
        "  \"model_input_names\": [\n    \"input_ids\",\n    \"attention_mask\"\n  ],\n"
        "  \"model_max_length\": 4096,\n  \"pad_token\": \"<|endoftext|>\",\n"
        "  \"padding_side\": \"left\",\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n",
        f);
    finish(f);
}

static void write_generation(const model *m)
{
    FILE *f = create(m, "generation_config.json");
    fprintf(f,
            "{\n  \"_from_model_config\": true,\n  \"do_sample\": true,\n  \"eos_token_id\": [\n"
            "    %u,\n    %u,\n    %u\n  ],\n  \"pad_token_id\": %u,\n  \"temperature\": 1.0,\n"
            "  \"top_p\": 0.95\n}\n",
            special_first(), special_id("<|user|>"), special_id("<|observation|>"),
            special_first());
    finish(f);
}

static void write_template(const model *m)
{
    FILE *f = create(m, "chat_template.jinja");
    fputs("[gMASK]<sop>\n"
          "{%- for message in messages -%}\n"
          "<|{{ 'observation' if message.role == 'tool' else message.role }}|>\n"
          "{{ message.content }}\n"
          "{%- endfor -%}\n"
          "{%- if add_generation_prompt -%}\n"
          "<|assistant|>\n"
          "{%- endif -%}\n",
          f);
    finish(f);
}

void write_side_files(const model *m)
{
    write_tokenizer(m);
    write_tokenizer_config(m);
    write_generation(m);
    write_template(m);
}

/* ---- config.json, per architecture ---- */

static void write_list(FILE *f, const char *key, const model *m, int (*first)(const model *, int),
                       const char *yes, const char *no)
{
    fprintf(f, "  \"%s\": [", key);
    for (uint64_t l = 0; l < m->layers; l++)
        fprintf(f, "%s\n    \"%s\"", l ? "," : "", first(m, (int)l) ? yes : no);
    fputs("\n  ],\n", f);
}

static int is_dense(const model *m, int l)
{
    return (uint64_t)l < m->dense_layers;
}

static void write_mla(const model *m, FILE *f)
{
    fprintf(f, "  \"q_lora_rank\": %" PRIu64 ",\n  \"kv_lora_rank\": %" PRIu64 ",\n", m->q_lora,
            m->kv_lora);
    fprintf(f, "  \"qk_nope_head_dim\": %" PRIu64 ",\n  \"qk_rope_head_dim\": %" PRIu64 ",\n",
            m->nope, m->rope);
    fprintf(f, "  \"v_head_dim\": %" PRIu64 ",\n", m->v_dim);
    fputs("  \"topk_method\": \"noaux_tc\",\n", f);
    write_list(f, "mlp_layer_types", m, is_dense, "dense", "sparse");
}

void write_arch_config(const model *m, FILE *f)
{
    if (m->arch == GLM4_MOE) {
        fprintf(f, "  \"head_dim\": %" PRIu64 ",\n  \"partial_rotary_factor\": 0.5,\n",
                m->head_dim);
        fputs("  \"rope_scaling\": null,\n  \"rope_theta\": 1000000,\n  \"use_qk_norm\": true,\n",
              f);
        return;
    }
    write_mla(m, f);
    if (m->arch == GLM4_MOE_LITE) {
        fputs("  \"partial_rotary_factor\": 1.0,\n  \"rope_scaling\": null,\n  \"rope_theta\": "
              "1000000,\n",
              f);
        return;
    }
    fprintf(f, "  \"head_dim\": %" PRIu64 ",\n  \"qk_head_dim\": %" PRIu64 ",\n", m->rope,
            m->nope + m->rope);
    fprintf(f,
            "  \"index_head_dim\": %" PRIu64 ",\n  \"index_n_heads\": %" PRIu64
            ",\n  \"index_topk\": 16,\n",
            m->index_dim, m->index_heads);
    write_list(f, "indexer_types", m, has_indexer, "full", "shared");
    fputs("  \"indexer_rope_interleave\": true,\n  \"moe_layer_freq\": 1,\n  \"rope_interleave\": "
          "true,\n"
          "  \"rope_parameters\": {\n    \"rope_theta\": 1000000,\n    \"rope_type\": "
          "\"default\"\n  },\n"
          "  \"scoring_func\": \"sigmoid\",\n",
          f);
}
