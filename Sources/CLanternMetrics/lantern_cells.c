#include "lantern_cells.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

_Thread_local uint32_t lantern_slot = 0;

// The slots that threads hold, one bit each; bit 0 is the shared slot, which nobody takes.
static uint64_t taken = 1;
static pthread_key_t ending;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int endings_work = 0;

static void give_back(void *held) {
    uint64_t slot = (uint64_t)(uintptr_t)held;
    lantern_slot = 0;
    // Release: whoever takes the slot next sees all that this thread added.
    __atomic_fetch_and(&taken, ~(UINT64_C(1) << slot), __ATOMIC_RELEASE);
}

static void prepare(void) {
    endings_work = pthread_key_create(&ending, give_back) == 0;
}

uint32_t lantern_slot_take(void) {
    pthread_once(&once, prepare);
    if (!endings_work) return 0;
    uint64_t map = __atomic_load_n(&taken, __ATOMIC_RELAXED);
    while (~map) {
        uint32_t slot = (uint32_t)__builtin_ctzll(~map);
        if (__atomic_compare_exchange_n(
                &taken, &map, map | UINT64_C(1) << slot, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            if (pthread_setspecific(ending, (void *)(uintptr_t)slot) != 0) {
                // Without its ending the slot would be lost when the thread is.
                __atomic_fetch_and(&taken, ~(UINT64_C(1) << slot), __ATOMIC_RELEASE);
                return 0;
            }
            lantern_slot = slot;
            return slot;
        }
    }
    return 0;
}

lantern_cells *lantern_cells_create(void) {
    return calloc(1, sizeof(lantern_cells));
}

void lantern_cells_destroy(lantern_cells *cells) {
    for (uint32_t slot = 0; slot < LANTERN_SLOTS; slot++) {
        for (uint32_t page = 0; page < LANTERN_PAGES; page++) free(cells->pages[slot][page]);
    }
    free(cells);
}

static size_t size_of_page(uint32_t page) {
    return ((size_t)LANTERN_FIRST_PAGE << page) * sizeof(uint64_t);
}

uint64_t *lantern_cells_add_page(lantern_cells *cells, uint32_t slot, uint32_t page) {
    // calloc and not malloc: large pages come zeroed from the system, and only what is touched takes memory.
    uint64_t *made = calloc(1, size_of_page(page));
    if (made == NULL) return NULL;
    uint64_t *there = NULL;
    // Only slot 0 can have two threads here; the others' pages are made by their owner alone.
    if (__atomic_compare_exchange_n(
            &cells->pages[slot][page], &there, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        return made;
    }
    free(made);
    return there;
}

int lantern_cells_prepare(lantern_cells *cells, uint32_t page) {
    return __atomic_load_n(&cells->pages[0][page], __ATOMIC_ACQUIRE) != NULL
        || lantern_cells_add_page(cells, 0, page) != NULL;
}

void lantern_cells_clear(lantern_cells *cells, lantern_cell first, uint32_t count) {
    for (uint32_t slot = 0; slot < LANTERN_SLOTS; slot++) {
        uint64_t *page = __atomic_load_n(&cells->pages[slot][first.page], __ATOMIC_ACQUIRE);
        if (page == NULL) continue;
        for (uint32_t index = 0; index < count; index++) {
            __atomic_store_n(page + first.offset + index, 0, __ATOMIC_RELAXED);
        }
    }
}

size_t lantern_cells_bytes(const lantern_cells *cells) {
    size_t bytes = sizeof(lantern_cells);
    for (uint32_t slot = 0; slot < LANTERN_SLOTS; slot++) {
        for (uint32_t page = 0; page < LANTERN_PAGES; page++) {
            if (__atomic_load_n(&cells->pages[slot][page], __ATOMIC_ACQUIRE)) bytes += size_of_page(page);
        }
    }
    return bytes;
}
