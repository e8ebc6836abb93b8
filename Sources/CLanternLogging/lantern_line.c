#include "lantern_line.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    lantern_line line;
    int in_use;
} holder;

static _Thread_local holder *own = NULL;
static pthread_key_t ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int endings_work = 0;

static void release(void *held) {
    own = NULL;
    lantern_line_destroy(&((holder *)held)->line);
}

static void prepare(void) { endings_work = pthread_key_create(&ending, release) == 0; }

lantern_line *lantern_line_create(void) {
    // The line is the first member of its holder.
    holder *made = calloc(1, sizeof(holder));
    if (made == NULL) return NULL;
    made->line.bytes = malloc(LANTERN_LINE_SIZE);
    if (made->line.bytes != NULL) return &made->line;
    free(made);
    return NULL;
}

void lantern_line_destroy(lantern_line *line) {
    free(line->bytes);
    free((holder *)line);
}

lantern_line *lantern_line_begin(void) {
    holder *mine = own;
    if (mine == NULL) {
        pthread_once(&once, prepare);
        if (!endings_work) return NULL;
        mine = (holder *)lantern_line_create();
        if (mine == NULL) return NULL;
        if (pthread_setspecific(ending, mine) != 0) {
            lantern_line_destroy(&mine->line);
            return NULL;
        }
        own = mine;
    }
    if (mine->in_use) return NULL;
    mine->in_use = 1;
    mine->line.count = 0;
    mine->line.is_cut = 0;
    return &mine->line;
}

void lantern_line_end(lantern_line *line) { ((holder *)line)->in_use = 0; }

static const char digits[] = "0123456789abcdef";

/// Whether any of eight bytes is below 0x20, a quote, a backslash, DEL, or above ASCII.
static inline int needs_care(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\'), del = word ^ (ones * 0x7F);
    return ((word | ((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)
             | ((del - ones) & ~del)) & highs) != 0;
}

/// The length of a UTF-8 sequence by its first byte.
static inline uint32_t width(uint8_t first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

/// A control character, a quote, a backslash or a line separator at `text`, as its code point; 0xFFFF where there is none.
static inline uint32_t special(const uint8_t *text, uint64_t left, uint32_t length) {
    if (length == 1) return text[0] < 0x20 || text[0] == '"' || text[0] == '\\' || text[0] == 0x7F ? text[0] : 0xFFFF;
    if (left < length) return 0xFFFD;
    if (length == 2 && text[0] == 0xC2 && text[1] < 0xA0) return text[1];
    if (length == 3 && text[0] == 0xE2 && text[1] == 0x80 && (text[2] == 0xA8 || text[2] == 0xA9)) {
        return 0x2000u | (text[2] & 0x3Fu);
    }
    // Some readers drop a byte order mark wherever a string begins.
    if (length == 3 && text[0] == 0xEF && text[1] == 0xBB && text[2] == 0xBF) return 0xFEFF;
    return 0xFFFF;
}

/// Bytes that stand for themselves.
static const uint8_t is_plain[256] = {
    ['\x20' ... '\x21'] = 1, ['\x23' ... '\x5B'] = 1, ['\x5D' ... '\x7E'] = 1,
};

/// Answers whether all of the text is there.
static int escaped(
    lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit, uint32_t (*escape)(uint8_t *, uint32_t)
) {
    uint32_t room = lantern_line_room(line);
    // An ellipsis must fit behind all that is written.
    if (room < 16) {
        line->is_cut = 1;
        return 0;
    }
    uint8_t *start = line->bytes + line->count, *to = start;
    const uint8_t *end = start + (limit < room - 16 ? limit : room - 16);
    uint64_t index = 0;
    while (index < count) {
        uint64_t word;
        if (count - index >= 8 && end - to >= 8 && (memcpy(&word, text + index, 8), !needs_care(word))) {
            memcpy(to, &word, 8);
            to += 8;
            index += 8;
            continue;
        }
        if (is_plain[text[index]] && to < end) {
            *to++ = text[index++];
            continue;
        }
        uint8_t piece[8];
        uint32_t length = width(text[index]), written;
        uint32_t code = special(text + index, count - index, length);
        if (code == 0xFFFF) {
            memcpy(piece, text + index, length);
            written = length;
        } else {
            written = escape(piece, code);
        }
        if (written > (uint64_t)(end - to)) break;
        memcpy(to, piece, written);
        to += written;
        index += length;
    }
    int is_whole = index >= count;
    if (!is_whole) {
        memcpy(to, "\xE2\x80\xA6", 3);
        to += 3;
    }
    line->count += (uint32_t)(to - start);
    return is_whole;
}

static uint32_t escape_json(uint8_t *to, uint32_t code) {
    to[0] = '\\';
    switch (code) {
    case '"': to[1] = '"'; return 2;
    case '\\': to[1] = '\\'; return 2;
    case '\n': to[1] = 'n'; return 2;
    case '\r': to[1] = 'r'; return 2;
    case '\t': to[1] = 't'; return 2;
    default: break;
    }
    to[1] = 'u';
    for (int place = 0; place < 4; place++) to[2 + place] = (uint8_t)digits[code >> (12 - 4 * place) & 15];
    return 6;
}

static uint32_t escape_plain(uint8_t *to, uint32_t code) {
    switch (code) {
    case '"':
    case '\\': to[0] = (uint8_t)code; return 1;
    case '\n': to[0] = '\\'; to[1] = 'n'; return 2;
    default: memcpy(to, "\xEF\xBF\xBD", 3); return 3;
    }
}

void lantern_line_json(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit) {
    escaped(line, text, count, limit, escape_json);
}

void lantern_line_plain(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit) {
    escaped(line, text, count, limit, escape_plain);
}

static int is_name(const uint8_t *text, uint64_t count) {
#define IS(name) (count == sizeof name - 1 && memcmp(text, name, sizeof name - 1) == 0)
    switch (count) {
    case 5: return IS("level");
    case 6: return IS("logger");
    case 7: return IS("message") || IS("service") || IS("span_id");
    case 8: return IS("trace_id") || IS("repeated");
    case 9: return IS("timestamp") || IS("truncated");
    default: return 0;
    }
#undef IS
}

int lantern_is_reserved(const uint8_t *text, uint64_t count) {
    while (count > 9 && text[8] == '.' && memcmp(text, "metadata.", 9) == 0) {
        text += 9;
        count -= 9;
    }
    return count <= 9 && is_name(text, count);
}

void lantern_line_name(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit) {
    if (!escaped(line, text, count, limit, escape_json)) {
        // Keys that differ behind the cut only must not become one.
        uint64_t hash = UINT64_C(0xCBF29CE484222325);
        for (uint64_t index = 0; index < count; index++) hash = (hash ^ text[index]) * UINT64_C(0x100000001B3);
        lantern_line_hexadecimal(line, hash);
    }
    lantern_line_close(line, "\":", 2);
}

int lantern_line_key(lantern_line *line, const uint8_t *text, uint64_t count, uint32_t limit, const uint8_t *secrets) {
    lantern_line_append(line, ",\"", 2);
    if (lantern_is_reserved(text, count)) lantern_line_append(line, "metadata.", 9);
    lantern_line_name(line, text, count, limit);
    return lantern_finds_word(secrets, text, count);
}

void lantern_line_unsigned(lantern_line *line, uint64_t value) {
    uint8_t text[20];
    uint32_t at = 20;
    do {
        text[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    lantern_line_append(line, text + at, 20 - at);
}

void lantern_line_integer(lantern_line *line, int64_t value) {
    if (value < 0) lantern_line_append(line, "-", 1);
    lantern_line_unsigned(line, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void lantern_line_hexadecimal(lantern_line *line, uint64_t value) {
    uint8_t text[16];
    for (int place = 0; place < 16; place++) text[place] = (uint8_t)digits[value >> (60 - 4 * place) & 15];
    lantern_line_append(line, text, 16);
}

static void number(uint8_t *to, uint64_t value, int places) {
    for (int place = places - 1; place >= 0; place--) {
        to[place] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

void lantern_line_time(lantern_line *line, int64_t microseconds) {
    int64_t seconds = microseconds / 1000000, fraction = microseconds % 1000000;
    if (fraction < 0) { fraction += 1000000; seconds -= 1; }
    int64_t days = seconds / 86400, second = seconds % 86400;
    if (second < 0) { second += 86400; days -= 1; }
    // The proleptic Gregorian date: years are counted from March, so that the leap day comes last, in eras of 400 years
    // that all have 146,097 days.
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    uint8_t text[] = "0000-00-00T00:00:00.000000Z";
    number(text, (uint64_t)year, 4);
    number(text + 5, (uint64_t)month, 2);
    number(text + 8, (uint64_t)day, 2);
    number(text + 11, (uint64_t)(second / 3600), 2);
    number(text + 14, (uint64_t)(second / 60 % 60), 2);
    number(text + 17, (uint64_t)(second % 60), 2);
    number(text + 20, (uint64_t)fraction, 6);
    lantern_line_append(line, text, 27);
}

int64_t lantern_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}
