/* The option tables as text: --help, the man page, bash completion, --list-formats. */
#include "args.h"
#include "base/mem.h"
#include "glmq/glmq.h"
#include "readers/reader.h"
#include "writers/writer.h"
#include <string.h>

enum { HELP_COLUMN = 30 };

static int shows_arg(const glmq_option *o)
{
    return o->arg && strcmp(o->arg, "[]") != 0;
}

/* "-o, --output FILE", "--tensors[=GLOB]": returns its width. */
static int print_spelling(const glmq_option *o, FILE *out)
{
    int n = 0;
    if (o->letter) n += fprintf(out, "-%c, ", o->letter);
    n += fprintf(out, "--%s", o->name);
    if (!shows_arg(o)) return n;
    if (o->arg[0] == '[')
        n += fprintf(out, "[=%s", o->arg + 1);
    else
        n += fprintf(out, " %s", o->arg);
    return n;
}

void glmq_print_help(const glmq_program *p, FILE *out)
{
    fprintf(out, "%s: %s\nusage: %s [options] %s\n\n", p->name, p->purpose, p->name, p->operands);
    for (size_t i = 0; i < p->count; i++) {
        const glmq_option *o = &p->options[i];
        if (!o->help) continue;
        fputs("  ", out);
        const int width = print_spelling(o, out);
        fprintf(out, "%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "", o->help);
    }
    fputs("\nexamples:\n", out);
    for (size_t i = 0; i < GLMQ_COUNT(p->examples); i++)
        fprintf(out, "  # %s\n  %s\n", p->examples[i][0], p->examples[i][1]);
}

/* roff reads '-' as a hyphen, '\' as an escape and '.' at a line's start as a request. */
static void roff(const char *s, FILE *out)
{
    if (*s == '.' || *s == '\'') fputs("\\&", out);
    for (; *s; s++) {
        if (*s == '\\') {
            fputs("\\e", out);
            continue;
        }
        if (*s == '-') fputc('\\', out);
        fputc(*s, out);
    }
}

static void man_option(const glmq_option *o, FILE *out)
{
    fputs(".TP\n", out);
    if (o->letter) fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    roff(o->name, out);
    fputs("\\fR", out);
    if (shows_arg(o)) {
        fputs(o->arg[0] == '[' ? "[=\\fI" : " \\fI", out);
        roff(o->arg[0] == '[' ? o->arg + 1 : o->arg, out);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    roff(o->help, out);
    fputc('\n', out);
}

static const char *const exit_texts[][2] = {
    { "0", "done; nothing wrong found" },
    { "1", "the system failed: I/O error, disk full, out of memory" },
    { "2", "wrong usage" },
    { "3", "the input is malformed, truncated or incomplete" },
    { "4", "asked for what the formats cannot represent, or glmq does not support" },
    { "5", "a check or verification found errors, differences, or missed a threshold" },
    { "6", "the output exists, or belongs to another run" },
    { "130", "interrupted; resumable" },
};

void glmq_print_man(const glmq_program *p, FILE *out)
{
    fprintf(out, ".TH %s 1 \"\" \"glmq %s\" \"User Commands\"\n.SH NAME\n", p->name,
            glmq_version());
    roff(p->name, out);
    fputs(" \\- ", out);
    roff(p->purpose, out);
    fputs("\n.SH SYNOPSIS\n.B ", out);
    roff(p->name, out);
    fputs("\n[\\fIoptions\\fR] \\fI", out);
    roff(p->operands, out);
    fputs("\\fR\n.SH OPTIONS\n", out);
    for (size_t i = 0; i < p->count; i++)
        if (p->options[i].help) man_option(&p->options[i], out);
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < GLMQ_COUNT(exit_texts); i++)
        fprintf(out, ".TP\n%s\n%s\n", exit_texts[i][0], exit_texts[i][1]);
    fputs(".SH EXAMPLES\n", out);
    for (size_t i = 0; i < GLMQ_COUNT(p->examples); i++) {
        fputs(".TP\n", out);
        roff(p->examples[i][0], out);
        fputs("\n.B ", out);
        roff(p->examples[i][1], out);
        fputc('\n', out);
    }
}

/* "glmq-inspect" as a shell function's name: "_glmq_inspect". */
static void print_function_name(const char *name, FILE *out)
{
    fputc('_', out);
    for (; *name; name++) fputc(*name == '-' ? '_' : *name, out);
}

static void completion_words(const glmq_option *o, FILE *out)
{
    fprintf(out, "    --%s) COMPREPLY=($(compgen -W '", o->name);
    for (const char *s = o->words; *s; s++) fputc(*s == '|' ? ' ' : *s, out);
    fputs("' -- \"$word\")); return;;\n", out);
}

/* Bash splits --name=value at '='; `last` is then the word before it. */
void glmq_print_completion(const glmq_program *p, FILE *out)
{
    fprintf(out, "# bash completion for %s\n", p->name);
    print_function_name(p->name, out);
    fputs("()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} last=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    [[ $word == = ]] && word=\n"
          "    [[ $last == = ]] && last=${COMP_WORDS[COMP_CWORD-2]}\n"
          "    case $last in\n",
          out);
    for (size_t i = 0; i < p->count; i++)
        if (p->options[i].help && p->options[i].words) completion_words(&p->options[i], out);
    fputs("    esac\n    if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W '", out);
    for (size_t i = 0, n = 0; i < p->count; i++)
        if (p->options[i].help) fprintf(out, "%s--%s", n++ ? " " : "", p->options[i].name);
    fputs("' -- \"$word\"))\n    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    fi\n}\n"
          "complete -o filenames -F ",
          out);
    print_function_name(p->name, out);
    fprintf(out, " %s\n", p->name);
}

/* The formats' words: readers first, then writers that read nothing. */
void glmq_print_formats(FILE *out)
{
    fprintf(out, "%-20s %-6s %-6s %s\n", "format", "reads", "writes", "options");
    for (size_t i = 0; i < glmq_reader_count(); i++) {
        const glmq_reader *r = glmq_reader_at(i);
        const glmq_writer *w = glmq_writer_find(r->name);
        fprintf(out, "%-20s %-6s %-6s %s\n", r->name, "yes", w ? "yes" : "no",
                w && w->options ? w->options : "");
    }
    for (size_t i = 0; i < glmq_writer_count(); i++) {
        const glmq_writer *w = glmq_writer_at(i);
        if (!glmq_reader_find(w->name))
            fprintf(out, "%-20s %-6s %-6s %s\n", w->name, "", "yes", w->options ? w->options : "");
    }
}
