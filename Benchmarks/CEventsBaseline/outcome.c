#define _POSIX_C_SOURCE 200809L
#include "outcome.h"
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

int baseline_fail(struct baseline_error error, const char *format, ...) {
    if (error.text == NULL || error.size == 0) return -1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.text, error.size, format, arguments);
    va_end(arguments);
    return -1;
}

double baseline_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
