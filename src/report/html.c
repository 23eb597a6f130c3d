/* HTML text. What comes from outside (labels, names, paths, command lines) goes
 * through html_add or html_escape; what stands in a format string is ours. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "report/html.h"

void html_begin(struct text *out, const char *title, const char *css)
{
    text_add(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta http-equiv=\"Content-Security-Policy\" "
                  "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n<title>");
    html_escape(out, title);
    text_add(out, "</title>\n<style>\n");
    text_add_bytes(out, css, strlen(css));
    text_add(out, "</style>\n</head>\n<body>\n");
}

void html_end(struct text *out)
{
    text_add(out, "</body>\n</html>\n");
}

/* Bytes of the UTF-8 sequence at p, 0 if it is none (overlong forms, surrogates and beyond U+10FFFF are none). */
static int utf8_length(const unsigned char *p)
{
    int length = p[0] < 0x80                   ? 1
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                 : (p[0] & 0xf0) == 0xe0       ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                               : 0;
    for (int i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
               (p[0] == 0xf4 && p[1] > 0x8f);
    return bad ? 0 : length;
}

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case 0x7f:
        return " ";
    default:
        return c < 0x20 && c != '\n' ? " " : NULL;
    }
}

void html_escape(struct text *out, const char *value)
{
    const unsigned char *p = (const unsigned char *)(value ? value : "");
    while (*p) {
        int length = utf8_length(p);
        const char *instead = length == 0 ? "\xef\xbf\xbd" : entity(*p);
        if (instead)
            text_add_bytes(out, instead, strlen(instead));
        else
            text_add_bytes(out, (const char *)p, (size_t)length);
        p += length ? length : 1;
    }
}

/* One conversion that is not %s, with its own type. */
static void add_number(struct text *out, const char *spec, va_list *args)
{
    char buffer[400]; /* %f of the largest double has 309 digits before the point */
    size_t n = strlen(spec);
    char kind = spec[n - 1];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the pieces of a format the compiler has checked */
    if (strchr("gfe", kind))
        snprintf(buffer, sizeof buffer, spec, va_arg(*args, double));
    else if (n > 2 && spec[n - 2] == 'z')
        snprintf(buffer, sizeof buffer, spec, va_arg(*args, size_t));
    else if (n > 3 && spec[n - 2] == 'l' && spec[n - 3] == 'l')
        snprintf(buffer, sizeof buffer, spec, va_arg(*args, long long));
    else if (n > 2 && spec[n - 2] == 'l')
        snprintf(buffer, sizeof buffer, spec, va_arg(*args, long));
    else if (strchr("dixuc", kind))
        snprintf(buffer, sizeof buffer, spec, va_arg(*args, int));
    else
        fatal(EXIT_INTERNAL, "html_add: no conversion %s", spec);
#pragma GCC diagnostic pop
    text_add_bytes(out, buffer, strlen(buffer));
}

void html_add(struct text *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    while (*fmt) {
        size_t plain = strcspn(fmt, "%");
        text_add_bytes(out, fmt, plain);
        fmt += plain;
        if (!*fmt)
            break;
        size_t n = 1 + strspn(fmt + 1, "+-# 0123456789.lz") + 1;
        char spec[24];
        require(n < sizeof spec, EXIT_INTERNAL, "html_add: conversion too long");
        memcpy(spec, fmt, n);
        spec[n] = 0;
        fmt += n;
        if (spec[n - 1] == '%')
            text_add_bytes(out, "%", 1);
        else if (spec[n - 1] == 's')
            html_escape(out, va_arg(args, const char *));
        else
            add_number(out, spec, &args);
    }
    va_end(args);
}

void html_base64(struct text *out, const uint8_t *bytes, size_t length)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[4 * 192];
    size_t used = 0;
    for (size_t i = 0; i < length; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16;
        if (i + 1 < length)
            v |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < length)
            v |= bytes[i + 2];
        line[used++] = digit[v >> 18];
        line[used++] = digit[v >> 12 & 63];
        line[used++] = i + 1 < length ? digit[v >> 6 & 63] : '=';
        line[used++] = i + 2 < length ? digit[v & 63] : '=';
        if (used == sizeof line) {
            text_add_bytes(out, line, used);
            used = 0;
        }
    }
    text_add_bytes(out, line, used);
}

void html_data_png(struct text *out, const uint8_t *png, size_t length)
{
    text_add(out, "data:image/png;base64,");
    html_base64(out, png, length);
}

void html_define(struct text *out, const char *id, const uint8_t *png, size_t length, int width, int height)
{
    text_add(out, "<image id=\"%s\" width=\"%d\" height=\"%d\" href=\"", id, width, height);
    html_data_png(out, png, length);
    text_add(out, "\"/>\n");
}

void html_use(struct text *out, const char *id, const char *css_class, const char *alt, int width, int height)
{
    text_add(out, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\"><title>", css_class,
             width, height, width, height);
    html_escape(out, alt);
    text_add(out, "</title><use href=\"#%s\"/></svg>", id);
}
