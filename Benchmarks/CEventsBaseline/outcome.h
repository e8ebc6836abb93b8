#ifndef BASELINE_OUTCOME_H
#define BASELINE_OUTCOME_H
#include <stddef.h>

/// Where a failure is told: the caller's buffer.
struct baseline_error {
    char *text;
    size_t size;
};

/// Writes the text and answers -1.
__attribute__((format(printf, 2, 3))) int baseline_fail(struct baseline_error error, const char *format, ...);

/// Monotonic seconds.
double baseline_now(void);
#endif
