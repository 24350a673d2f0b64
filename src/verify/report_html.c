/* A comparison as one self-contained page: no scripts, no links, safe with any name. */
#include "report.h"
#include "glmq/glmq.h"
#include "print.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char style[] =
    "body{font:14px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child,.l{text-align:left}"
    "code{font-size:13px}.ok{color:#176f2c}.bad{color:#a11}"
    ".bar{display:inline-block;height:.7em;background:#c55;margin-left:.5em}";

/* Control characters escaped as everywhere, then the three that mean something to HTML. */
static void put(const char *s, FILE *out)
{
    char text[4096];

    glmq_escape(text, sizeof text, s, strlen(s));
    for (s = text; *s; s++) {
        if (*s == '&')
            fputs("&amp;", out);
        else if (*s == '<')
            fputs("&lt;", out);
        else if (*s == '>')
            fputs("&gt;", out);
        else
            fputc(*s, out);
    }
}

static void head(const glmq_report *r, FILE *out)
{
    const glmq_verify_result *t = &r->total;
    const int passes = glmq_report_passes(r);

    fprintf(out,
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>glmq-verify</title>"
            "<style>%s</style><h1>glmq-verify</h1><p><code>",
            style);
    put(r->source, out);
    fputs("</code> and <code>", out);
    put(r->result, out);
    fprintf(out,
            "</code></p><p class=\"%s\">%" PRIu64 " tensors: %" PRIu64 " exact, %" PRIu64
            " differ, %" PRIu64 " missing, %" PRIu64 " extra.</p>",
            passes ? "ok" : "bad", t->tensors, t->exact, t->differ, t->missing, t->extra);
    if (t->digest_a[0])
        fprintf(out, "<p>source <code>%s</code><br>result <code>%s</code></p>", t->digest_a,
                t->digest_b);
}

static void roles(const glmq_report *r, FILE *out)
{
    double worst = 0;

    for (size_t i = 0; i < r->role_count; i++)
        if (isfinite(r->roles[i].max_relative) && r->roles[i].max_relative > worst)
            worst = r->roles[i].max_relative;
    fputs("<h2>By role</h2><table><tr><th>role<th class=l>from<th class=l>to<th>tensors<th>exact"
          "<th>max rmse<th>max abs<th>min cosine<th class=l>relative</tr>",
          out);
    for (size_t i = 0; i < r->role_count; i++) {
        const glmq_report_role *x = &r->roles[i];
        fprintf(out, "<tr><td>%s<td class=l>", glmq_role_name(x->role));
        put(x->from, out);
        fputs("<td class=l>", out);
        put(x->to, out);
        fprintf(out,
                "<td>%" PRIu64 "<td>%" PRIu64 "<td>%.3g<td>%.3g<td>%.6f<td class=l>%.3g"
                "<span class=bar style=\"width:%.0fpx\"></span></tr>",
                x->tensors, x->exact, x->max_rmse, x->max_abs, x->min_cosine, x->max_relative,
                worst > 0 && isfinite(x->max_relative) ? 200 * x->max_relative / worst : 0);
    }
    fputs("</table>", out);
}

static void rows(const glmq_report *r, FILE *out)
{
    if (r->total.exact == r->total.tensors) return;
    fputs("<h2>Tensors that differ</h2><table><tr><th>tensor<th>rmse<th>relative<th>max abs"
          "<th>cosine<th>snr dB<th class=l>note</tr>",
          out);
    for (size_t i = 0; i < r->count; i++) {
        const glmq_difference *d = &r->rows[i].d;
        if (d->exact) continue;
        fputs("<tr><td><code>", out);
        put(d->name, out);
        fprintf(out, "</code><td>%.3g<td>%.3g<td>%.3g<td>%.6f<td>%.3g<td class=l>", d->rmse,
                d->relative_rmse, d->max_abs, d->cosine, d->snr_db);
        put(d->missing ? "missing" : d->extra ? "extra" : d->note ? d->note : "", out);
        fputs("</tr>", out);
    }
    fputs("</table>", out);
}

int glmq_report_html(const glmq_report *r, FILE *out)
{
    if (r->failed) return -1;
    head(r, out);
    roles(r, out);
    rows(r, out);
    fprintf(out, "<p>glmq %s</p></html>\n", glmq_version());
    return ferror(out) ? -1 : 0;
}
