#ifndef LANTERN_LINE_H
#define LANTERN_LINE_H
#include <stdint.h>
#include <string.h>

/// One line while it is written: a buffer of fixed size that each thread has one of, so that no line allocates.
/// What does not fit is left out; the last bytes are kept free for what closes the line.
typedef struct lantern_line {
    uint8_t *bytes;
    uint32_t count;
    /// Whether something was left out.
    uint32_t is_cut;
} lantern_line;

enum {
    /// Bytes of the longest line.
    LANTERN_LINE_SIZE = 32768,
    /// Bytes at its end that only `lantern_line_close` may use.
    LANTERN_LINE_KEPT = 256,
};

/// The calling thread's line, empty. NULL where it is in use, by a value whose description logs, or memory is out.
lantern_line *lantern_line_begin(void);
/// Gives it back.
void lantern_line_end(lantern_line *line);
/// One that is nobody's own, for lines that are written within another one; NULL where memory is out.
lantern_line *lantern_line_create(void);
void lantern_line_destroy(lantern_line *line);

/// Bytes that may still be written.
static inline uint32_t lantern_line_room(const lantern_line *line) {
    return LANTERN_LINE_SIZE - LANTERN_LINE_KEPT - line->count;
}

/// Appends bytes as they are; all of them, or none.
static inline void lantern_line_append(lantern_line *line, const void *bytes, uint32_t count) {
    if (count > lantern_line_room(line)) {
        line->is_cut = 1;
        return;
    }
    memcpy(line->bytes + line->count, bytes, count);
    line->count += count;
}
/// As `lantern_line_append`, from the bytes kept for it.
static inline void lantern_line_close(lantern_line *line, const void *bytes, uint32_t count) {
    if (count > LANTERN_LINE_SIZE - line->count) return;
    memcpy(line->bytes + line->count, bytes, count);
    line->count += count;
}
/// Appends a JSON string without its quotes (RFC 8259, section 7), at most `limit` bytes of it, cut between characters,
/// with an ellipsis for what was cut. Escapes quotes, backslashes, all control characters (C0, DEL, C1), U+2028 and
/// U+2029, which some readers take for line ends, and U+FEFF, which some drop. The text must be UTF-8.
void lantern_line_json(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit);
/// Appends text for a terminal, in the same way: newlines become `\n`, other control characters U+FFFD.
void lantern_line_plain(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit);
void lantern_line_integer(lantern_line *line, int64_t value);
void lantern_line_unsigned(lantern_line *line, uint64_t value);
/// 16 lower-case hexadecimal digits.
void lantern_line_hexadecimal(lantern_line *line, uint64_t value);
/// RFC 3339 in UTC with microseconds, 27 bytes from the year 0 to 9999; takes microseconds since the epoch.
void lantern_line_time(lantern_line *line, int64_t microseconds);
/// Whether any word of an automaton (Aho and Corasick, 1975) stands in the letters of a text, in any case: `next` says for
/// each state, in rows of 32, where each of 26 letters leads; 255 is the end of a word.
static inline int lantern_finds_word(const uint8_t *next, const uint8_t *text, uint64_t count) {
    uint32_t state = 0;
    for (uint64_t index = 0; index < count; index++) {
        // Folds the case of letters; whatever is no letter is passed over.
        uint32_t letter = (uint32_t)(text[index] | 0x20) - 'a';
        if (letter >= 26) continue;
        state = next[state * 32 + letter];
        if (state == 255) return 1;
    }
    return 0;
}
/// Appends a comma, a key as a JSON string of at most `limit` bytes, and a colon; `metadata.` before a reserved key.
/// Answers whether the key names a secret, as `lantern_finds_word` says.
int lantern_line_key(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit, const uint8_t *secrets);
/// The same without comma, opening quote and prefix: the rest of a name in a nested object.
void lantern_line_name(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit);
/// Whether a text is a name that each line has itself, or such a name behind `metadata.`.
int lantern_is_reserved(const uint8_t *text, uint64_t count);
/// The first eight bytes of a text as a number that compares as they do.
static inline uint64_t lantern_prefix(const uint8_t *text, uint64_t count) {
    uint64_t prefix = 0;
    memcpy(&prefix, text, count < 8 ? count : 8);
    return __builtin_bswap64(prefix);
}
/// Now, in microseconds since the epoch.
int64_t lantern_now(void);
#endif
