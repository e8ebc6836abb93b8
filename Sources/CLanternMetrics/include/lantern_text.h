#ifndef LANTERN_TEXT_H
#define LANTERN_TEXT_H

// A growing text, and numbers written into it. Swift's arrays check capacity and uniqueness at each byte; a scrape writes
// millions of them.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lantern_cells.h"

typedef struct lantern_text {
    uint8_t *_Nullable bytes;
    size_t count;
    size_t capacity;
} lantern_text;

/// Makes room for `more` bytes. Answers 0, and changes nothing, where memory is out.
int lantern_text_grow(lantern_text *_Nonnull text, size_t more);

/// Gives the memory back.
void lantern_text_free(lantern_text *_Nonnull text);

static inline int lantern_text_reserve(lantern_text *_Nonnull text, size_t more) {
    return __builtin_expect(text->capacity - text->count >= more, 1) || lantern_text_grow(text, more);
}

/// Appends bytes; those that no memory can be had for are left out.
static inline void lantern_text_append(lantern_text *_Nonnull text, const uint8_t *_Nullable bytes, size_t count) {
    if (count == 0 || !lantern_text_reserve(text, count)) return;
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}

// Digits that a 64-bit number has at most.
#define LANTERN_DIGITS 20

/// Writes a whole number in decimal, at most LANTERN_DIGITS bytes; answers the place behind it.
static inline uint8_t *_Nonnull lantern_write_number(uint8_t *_Nonnull at, uint64_t value) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657"
        "585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    uint8_t digits[LANTERN_DIGITS];
    size_t first = sizeof digits;
    while (value >= 100) {
        uint64_t rest = value / 100;
        first -= 2;
        memcpy(digits + first, pairs + (value - rest * 100) * 2, 2);
        value = rest;
    }
    if (value >= 10) {
        first -= 2;
        memcpy(digits + first, pairs + value * 2, 2);
    } else {
        digits[--first] = (uint8_t)('0' + value);
    }
    memcpy(at, digits + first, sizeof digits - first);
    return at + (sizeof digits - first);
}

/// Appends a whole number in decimal.
static inline void lantern_text_append_number(lantern_text *_Nonnull text, uint64_t value) {
    if (!lantern_text_reserve(text, LANTERN_DIGITS)) return;
    text->count = (size_t)(lantern_write_number(text->bytes + text->count, value) - text->bytes);
}

/// Appends `name{labels} `, where `name` ends in its brace, or `name ` where there are no labels.
static inline void lantern_text_append_series(
    lantern_text *_Nonnull text, const uint8_t *_Nonnull name, size_t name_count,
    const uint8_t *_Nullable labels, size_t labels_count
) {
    if (!lantern_text_reserve(text, name_count + labels_count + 2)) return;
    uint8_t *at = text->bytes + text->count;
    memcpy(at, name, name_count);
    at += name_count;
    if (labels_count > 0) {
        memcpy(at, labels, labels_count);
        at += labels_count;
        *at++ = '}';
    } else {
        at--;
    }
    *at++ = ' ';
    text->count = (size_t)(at - text->bytes);
}

/// Appends the line of a whole number.
static inline void lantern_text_append_line(
    lantern_text *_Nonnull text, const uint8_t *_Nonnull name, size_t name_count,
    const uint8_t *_Nullable labels, size_t labels_count, uint64_t value
) {
    if (!lantern_text_reserve(text, name_count + labels_count + 2 + LANTERN_DIGITS + 1)) return;
    lantern_text_append_series(text, name, name_count, labels, labels_count);
    uint8_t *at = lantern_write_number(text->bytes + text->count, value);
    *at++ = '\n';
    text->count = (size_t)(at - text->bytes);
}

/// Appends `name{labels,bound`, where `name` ends in its brace and `bound` is `le="…"} `.
static inline void lantern_text_append_bucket(
    lantern_text *_Nonnull text, const uint8_t *_Nonnull name, size_t name_count,
    const uint8_t *_Nullable labels, size_t labels_count, const uint8_t *_Nonnull bound, size_t bound_count
) {
    if (!lantern_text_reserve(text, name_count + labels_count + bound_count + 1)) return;
    uint8_t *at = text->bytes + text->count;
    memcpy(at, name, name_count);
    at += name_count;
    if (labels_count > 0) {
        memcpy(at, labels, labels_count);
        at += labels_count;
        *at++ = ',';
    }
    memcpy(at, bound, bound_count);
    text->count = (size_t)(at + bound_count - text->bytes);
}

/// Appends the line of each bucket, its count being that of all buckets up to it; answers the last. `bounds` holds the
/// texts of ``lantern_text_append_bucket`` one behind the other, which end at `ends`.
static inline uint64_t lantern_text_append_buckets(
    lantern_text *_Nonnull text, const lantern_pages *_Nonnull pages, uint32_t offset, uint32_t count,
    const uint8_t *_Nonnull name, size_t name_count, const uint8_t *_Nullable labels, size_t labels_count,
    const uint8_t *_Nonnull bounds, const uint32_t *_Nonnull ends
) {
    uint64_t total = 0;
    size_t most = count * (name_count + labels_count + 1 + LANTERN_DIGITS + 1) + ends[count - 1];
    if (!lantern_text_reserve(text, most)) return 0;
    uint8_t *at = text->bytes + text->count;
    uint32_t start = 0;
    for (uint32_t bucket = 0; bucket < count; bucket++) {
        total += lantern_pages_sum(pages, offset + bucket);
        memcpy(at, name, name_count);
        at += name_count;
        if (labels_count > 0) {
            memcpy(at, labels, labels_count);
            at += labels_count;
            *at++ = ',';
        }
        memcpy(at, bounds + start, ends[bucket] - start);
        at += ends[bucket] - start;
        start = ends[bucket];
        at = lantern_write_number(at, total);
        *at++ = '\n';
    }
    text->count = (size_t)(at - text->bytes);
    return total;
}

#endif
