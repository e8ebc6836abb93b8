#ifndef BASELINE_EVENT_TEXT_H
#define BASELINE_EVENT_TEXT_H
#include <stddef.h>
#include <stdint.h>

/// PostgreSQL's binary values as they travel in headers: without a terminator, and with the length answered.

/// A `bigint`, which is eight big-endian bytes.
int64_t baseline_int8(const char *bytes);

enum { BASELINE_NUMBER = 20, BASELINE_UUID = 36, BASELINE_TIME = 27 };

/// Decimal.
size_t baseline_number(int64_t value, char text[BASELINE_NUMBER]);
/// Decimal from 0, padded to 20 digits.
size_t baseline_sequence(int64_t value, char text[BASELINE_NUMBER]);
/// A `uuid` of sixteen bytes, in lower case.
size_t baseline_uuid(const char *bytes, char text[BASELINE_UUID]);
/// A `timestamptz`, which is microseconds since 2000: RFC 3339 in UTC with six decimals. Years 1 to 9999.
size_t baseline_time(int64_t microseconds, char text[BASELINE_TIME]);
#endif
