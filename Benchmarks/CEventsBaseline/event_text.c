#include "event_text.h"

int64_t baseline_int8(const char *bytes) {
    uint64_t value = 0;
    for (int index = 0; index < 8; index++) value = value << 8 | (unsigned char)bytes[index];
    return (int64_t)value;
}

/// Exactly `width` digits, the last ones of `value`.
static void digits(uint64_t value, char *text, int width) {
    for (int index = width - 1; index >= 0; index--) {
        text[index] = (char)('0' + value % 10);
        value /= 10;
    }
}

size_t baseline_number(int64_t value, char text[BASELINE_NUMBER]) {
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int width = 1;
    for (uint64_t more = rest / 10; more > 0; more /= 10) width++;
    int sign = value < 0;
    if (sign) text[0] = '-';
    digits(rest, text + sign, width);
    return (size_t)(sign + width);
}

size_t baseline_sequence(int64_t value, char text[BASELINE_NUMBER]) {
    digits((uint64_t)value, text, BASELINE_NUMBER);
    return BASELINE_NUMBER;
}

size_t baseline_uuid(const char *bytes, char text[BASELINE_UUID]) {
    static const char hexadecimal[] = "0123456789abcdef";
    char *next = text;
    for (int index = 0; index < 16; index++) {
        if (index == 4 || index == 6 || index == 8 || index == 10) *next++ = '-';
        *next++ = hexadecimal[(unsigned char)bytes[index] >> 4];
        *next++ = hexadecimal[(unsigned char)bytes[index] & 15];
    }
    return BASELINE_UUID;
}

size_t baseline_time(int64_t microseconds, char text[BASELINE_TIME]) {
    const int64_t day_length = INT64_C(86400000000);
    int64_t days = microseconds / day_length, clock = microseconds % day_length;
    if (clock < 0) {
        days--;
        clock += day_length;
    }
    // Counted from 1 March of the year 0, which puts the leap day last; 400 years always have 146,097 days.
    int64_t shifted = days + 730425;
    int64_t era = shifted / 146097, of_era = shifted % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * of_year + 2) / 153, day = of_year - (153 * month + 2) / 5 + 1;
    int64_t year = year_of_era + era * 400 + (month >= 10);
    month += month < 10 ? 3 : -9;
    int64_t seconds = clock / 1000000;
    digits((uint64_t)year, text, 4);
    text[4] = '-';
    digits((uint64_t)month, text + 5, 2);
    text[7] = '-';
    digits((uint64_t)day, text + 8, 2);
    text[10] = 'T';
    digits((uint64_t)(seconds / 3600), text + 11, 2);
    text[13] = ':';
    digits((uint64_t)(seconds / 60 % 60), text + 14, 2);
    text[16] = ':';
    digits((uint64_t)(seconds % 60), text + 17, 2);
    text[19] = '.';
    digits((uint64_t)(clock % 1000000), text + 20, 6);
    text[26] = 'Z';
    return BASELINE_TIME;
}
