#include "lantern_text.h"

#include <stdlib.h>

int lantern_text_grow(lantern_text *text, size_t more) {
    size_t wanted = text->count + more;
    size_t capacity = text->capacity * 2 > wanted ? text->capacity * 2 : wanted;
    uint8_t *grown = realloc(text->bytes, capacity);
    if (grown == NULL) return 0;
    text->bytes = grown;
    text->capacity = capacity;
    return 1;
}

void lantern_text_free(lantern_text *text) {
    free(text->bytes);
    text->bytes = NULL;
    text->count = text->capacity = 0;
}
