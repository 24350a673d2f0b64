/* One encoding as the command line spells it: "f32", "bf16", "q8_0" (any GGUF type), or an int
 * format with its options: "gptq:bits=8,group=32,asym", "compressed-tensors:int4,group=128". */
#include "base/error.h"
#include "base/mem.h"
#include "codecs/ctpack.h"
#include "codecs/fp4.h"
#include "codecs/gptq.h"
#include "convert/plan.h"
#include "readers/reader.h"
#include "writers/writer.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { GPTQ = 1, CT = 2, AWQ = 4, ALL = 7, FLOATS = 8 };

typedef struct int_format {
    const char *word, *codec;
    unsigned mask;
    uint8_t variant, zero_kind;
} int_format;

static const int_format formats[] = {
    { "gptq", "gptq", GPTQ, GPTQ_V1, GLMQ_ZERO_MID },
    { "compressed-tensors", "ctpack", CT, CT_ZERO_PACKED, GLMQ_ZERO_MID },
    { "awq", "awq", AWQ, 0, GLMQ_ZERO_STORED },
    { "nvfp4", "fp4", FLOATS, FP4_MODELOPT, GLMQ_ZERO_MID },
    { "mxfp4", "fp4", FLOATS, FP4_CT, GLMQ_ZERO_MID },
};

/* An option's word ends in '=' where a value follows.  set() returns 0, or -1 when the value
 * is none of this option's. */
typedef struct int_option {
    const char *word;
    unsigned formats;
    int (*set)(glmq_encoding *e, const char *value, int arg);
    int arg;
} int_option;

static int set_bits(glmq_encoding *e, const char *value, int arg)
{
    static const char *const known[] = { "2", "3", "4", "8" };
    if (arg) {
        e->bits = (uint8_t)arg;
        return 0;
    }
    for (size_t i = 0; i < GLMQ_COUNT(known); i++)
        if (strcmp(value, known[i]) == 0) {
            e->bits = (uint8_t)atoi(value);
            return 0;
        }
    return -1;
}

static int set_group(glmq_encoding *e, const char *value, int arg)
{
    char *end;
    unsigned long n;
    (void)arg;
    e->group_rows = 1;
    e->group = 0;
    if (strcmp(value, "-1") == 0 || strcmp(value, "channel") == 0) return 0;
    if (!isdigit((unsigned char)*value)) return -1;
    n = strtoul(value, &end, 10);
    if (*end || n == 0 || n > 1u << 30) return -1;
    e->group = (uint32_t)n;
    return 0;
}

static int set_channel(glmq_encoding *e, const char *value, int arg)
{
    (void)value;
    e->group = 0;
    e->group_rows = (uint16_t)arg;
    return 0;
}

static int set_zero(glmq_encoding *e, const char *value, int arg)
{
    (void)value;
    e->zero_kind = (uint8_t)arg;
    return 0;
}

static int set_variant(glmq_encoding *e, const char *value, int arg)
{
    (void)value;
    e->variant = (uint8_t)arg;
    return 0;
}

static int set_scale(glmq_encoding *e, const char *value, int arg)
{
    static const glmq_dtype known[] = { GLMQ_DT_F16, GLMQ_DT_BF16, GLMQ_DT_F32 };
    (void)arg;
    for (size_t i = 0; i < GLMQ_COUNT(known); i++)
        if (strcasecmp(value, glmq_dtype_name(known[i])) == 0) {
            e->scale_dtype = (uint8_t)known[i];
            return 0;
        }
    return -1;
}

/* The whole encoding: what else was said is of no use to it. */
static int set_floats(glmq_encoding *e, const char *value, int arg)
{
    (void)value;
    *e = arg == 16 ? fp4_nvfp4(FP4_CT) : fp4_mxfp4(FP4_CT);
    return 0;
}

/* The writer looks at it: it is no part of an encoding. */
static int set_kv(glmq_encoding *e, const char *value, int arg)
{
    (void)e, (void)arg;
    return strcmp(value, "none") && strcmp(value, "fp8") ? -1 : 0;
}

/* rule=best and rule=peer: the encoders have one rule yet, the format's own. */
static int set_rule(glmq_encoding *e, const char *value, int arg)
{
    (void)e, (void)arg;
    return strcmp(value, "best") && strcmp(value, "peer") ? -1 : 0;
}

static const int_option options[] = {
    { "bits=", GPTQ, set_bits, 0 },
    { "int2", CT, set_bits, 2 },
    { "int3", CT, set_bits, 3 },
    { "int4", CT, set_bits, 4 },
    { "int8", CT, set_bits, 8 },
    { "nvfp4", CT, set_floats, 16 },
    { "mxfp4", CT, set_floats, 32 },
    { "kv=", FLOATS, set_kv, 0 },
    { "group=", ALL, set_group, 0 },
    { "channel", CT, set_channel, 1 },
    { "tensor", CT, set_channel, 0 },
    { "sym", ALL, set_zero, GLMQ_ZERO_MID },
    { "asym", ALL, set_zero, GLMQ_ZERO_STORED },
    { "v1", GPTQ, set_variant, GPTQ_V1 },
    { "v2", GPTQ, set_variant, GPTQ_V2 },
    { "scale=", GPTQ | CT, set_scale, 0 },
    { "rule=", ALL | FLOATS, set_rule, 0 },
};

static const char *option_word(size_t i)
{
    return i < GLMQ_COUNT(options) ? options[i].word : NULL;
}

static const char *encoding_word(size_t i)
{
    if (i < GLMQ_COUNT(formats)) return formats[i].word;
    i -= GLMQ_COUNT(formats);
    return i < glmq_codec_count() ? glmq_codec_name(glmq_codec_at(i)) : NULL;
}

static glmq_status unknown(glmq_error *err, const char *what, const char *word,
                           const char *(*at)(size_t))
{
    const char *near = glmq_nearest(word, at);
    if (near)
        return glmq_fail(err, GLMQ_E_ARG, "unknown %s '%s'; the nearest is '%s'", what, word, near);
    return glmq_fail(err, GLMQ_E_ARG, "unknown %s '%s'", what, word);
}

/* Is it an option, of whatever format? */
static int is_option(const char *word)
{
    for (size_t i = 0; i < GLMQ_COUNT(options); i++) {
        const size_t n = strlen(options[i].word);
        if (strncmp(word, options[i].word, n) == 0 && (options[i].word[n - 1] == '=' || !word[n]))
            return 1;
    }
    return 0;
}

static glmq_status parse_option(const int_format *f, const char *word, glmq_encoding *enc,
                                glmq_error *err)
{
    for (size_t i = 0; i < GLMQ_COUNT(options); i++) {
        const int_option *o = &options[i];
        const size_t n = strlen(o->word);
        const int takes_value = o->word[n - 1] == '=';
        if (!(o->formats & f->mask) || strncmp(word, o->word, n) || (!takes_value && word[n]))
            continue;
        if (o->set(enc, word + n, o->arg))
            return glmq_fail(err, GLMQ_E_ARG, "%s: '%s' is no value of %.*s", f->word, word + n,
                             (int)n - 1, o->word);
        return GLMQ_OK;
    }
    if (is_option(word))
        return glmq_fail(err, GLMQ_E_ARG, "%s: '%s' is another format's option", f->word, word);
    return glmq_within(err, unknown(err, "option", word, option_word), "%s", f->word);
}

static glmq_status parse_int_format(const int_format *f, const char *text, glmq_encoding *enc,
                                    glmq_error *err)
{
    *enc = (glmq_encoding){
        .codec = glmq_codec_find(f->codec),
        .bits = 4,
        .group = 128,
        .group_rows = 1,
        .zero_kind = f->zero_kind,
        .variant = f->variant,
    };
    if (!enc->codec)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: this build has no such codec", f->word);
    if (f->mask == FLOATS) *enc = *f->word == 'n' ? fp4_nvfp4(f->variant) : fp4_mxfp4(f->variant);
    while (*text) {
        char word[64];
        const size_t n = strcspn(text, ",");
        if (n == 0 || n >= sizeof word)
            return glmq_fail(err, GLMQ_E_ARG, "%s: '%s' is no list of options", f->word, text);
        memcpy(word, text, n);
        word[n] = '\0';
        GLMQ_TRY(parse_option(f, word, enc, err));
        text += n;
        if (*text == ',' && !*++text)
            return glmq_fail(err, GLMQ_E_ARG, "%s: the list of options ends in a comma", f->word);
    }
    return GLMQ_OK;
}

/* f32, bf16, …, q4_0, Q6_K: a dtype by either of its names. */
static glmq_status parse_dtype(const char *text, glmq_encoding *enc, glmq_error *err)
{
    for (int d = GLMQ_DT_NONE + 1; d < GLMQ_DT_COUNT; d++) {
        const glmq_dtype_info *info = glmq_dtype_info_of((glmq_dtype)d);
        if (!info || !info->ggml_name || strcasecmp(info->ggml_name, text)) continue;
        *enc = glmq_encoding_of_dtype((glmq_dtype)d);
        if (!enc->codec)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "glmq does not write %s yet",
                             info->ggml_name);
        return GLMQ_OK;
    }
    return unknown(err, "encoding", text, encoding_word);
}

/* Codecs of checkpoints that have a reader of that name and no word here. */
static int is_only_read(const char *codec)
{
    return glmq_reader_find(codec) && !glmq_writer_find(codec);
}

glmq_status glmq_encoding_parse(const char *text, glmq_encoding *enc, glmq_error *err)
{
    const size_t word = strcspn(text, ":");
    for (size_t i = 0; i < GLMQ_COUNT(formats); i++) {
        if (strlen(formats[i].word) != word || strncmp(text, formats[i].word, word)) continue;
        if (text[word] == ':' && !text[word + 1])
            return glmq_fail(err, GLMQ_E_ARG, "%s: nothing behind the colon", formats[i].word);
        return parse_int_format(&formats[i], text + word + (text[word] == ':'), enc, err);
    }
    /* "gguf:Q8_0" is Q8_0 */
    if (strncmp(text, "gguf:", 5) == 0) text += 5;
    for (size_t i = 0; i < glmq_codec_count(); i++) {
        const char *name = glmq_codec_name(glmq_codec_at(i));
        if (strlen(name) == word && strncmp(text, name, word) == 0 && is_only_read(name))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "glmq does not write %s yet", name);
    }
    return parse_dtype(text, enc, err);
}
