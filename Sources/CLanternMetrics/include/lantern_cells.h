#ifndef LANTERN_CELLS_H
#define LANTERN_CELLS_H

// Numbers that many threads add to and one reader sums up.
//
// A cell is a 64-bit number that exists once for each thread that touched it. A thread owns its copy, so adding is a load,
// an addition and a store, without a locked instruction and without a cache line that another thread writes: the copies
// of one thread lie together, those of different threads never share a line. The sum over all copies is the value.
//
// Threads own slots. There are 63; a thread takes one at its first addition and gives it back when it ends, so a later
// thread goes on with the same copies. The acquire and release on the slot map order the two. Threads beyond the 63rd, and
// those whose page cannot be allocated, share slot 0 with atomic read-modify-write instructions.
//
// All accesses are atomic (relaxed), so a reader sees each copy as it was or as it is, never torn.

#include <stddef.h>
#include <stdint.h>

#define LANTERN_SLOTS 64
#define LANTERN_PAGES 18
/// Cells of page 0; each further page has twice as many.
#define LANTERN_FIRST_PAGE 512

/// Where a cell lies, the same in the pages of every slot.
typedef struct lantern_cell {
    uint32_t page;
    uint32_t offset;
} lantern_cell;

typedef struct lantern_cells {
    uint64_t *_Nullable pages[LANTERN_SLOTS][LANTERN_PAGES];
} lantern_cells;

/// An empty set of cells, or NULL where memory is out.
lantern_cells *_Nullable lantern_cells_create(void);

/// Gives everything back. No other thread may use it any more.
void lantern_cells_destroy(lantern_cells *_Nonnull cells);

/// Makes a page of slot 0, which stands in for every other. Answers 0 where memory is out.
int lantern_cells_prepare(lantern_cells *_Nonnull cells, uint32_t page);

/// Sets the copies of all threads to 0. Nobody may be adding to these cells.
void lantern_cells_clear(lantern_cells *_Nonnull cells, lantern_cell first, uint32_t count);

/// Bytes that all pages take.
size_t lantern_cells_bytes(const lantern_cells *_Nonnull cells);

// Not for callers: the slow halves of the functions below.
uint32_t lantern_slot_take(void);
uint64_t *_Nullable lantern_cells_add_page(lantern_cells *_Nonnull cells, uint32_t slot, uint32_t page);
extern _Thread_local uint32_t lantern_slot __attribute__((tls_model("initial-exec")));

#define LANTERN_LIKELY(x) __builtin_expect(!!(x), 1)

/// This thread's copy of a cell. `*owned` tells whether it belongs to this thread alone.
static inline uint64_t *_Nonnull lantern_cell_mine(lantern_cells *_Nonnull cells, lantern_cell cell, int *_Nonnull owned) {
    uint32_t slot = lantern_slot;
    if (!LANTERN_LIKELY(slot)) slot = lantern_slot_take();
    uint64_t *page = __atomic_load_n(&cells->pages[slot][cell.page], __ATOMIC_ACQUIRE);
    if (!LANTERN_LIKELY(page != NULL)) page = lantern_cells_add_page(cells, slot, cell.page);
    *owned = LANTERN_LIKELY(slot != 0 && page != NULL);
    if (!LANTERN_LIKELY(page != NULL)) page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    return page + cell.offset;
}

static inline void lantern_add_at(uint64_t *_Nonnull at, int owned, uint64_t amount) {
    if (LANTERN_LIKELY(owned)) {
        __atomic_store_n(at, __atomic_load_n(at, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_add(at, amount, __ATOMIC_RELAXED);
    }
}

static inline double lantern_double(uint64_t bits) {
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t lantern_bits(double value) {
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline void lantern_add_double_at(uint64_t *_Nonnull at, int owned, double amount) {
    uint64_t old = __atomic_load_n(at, __ATOMIC_RELAXED);
    if (LANTERN_LIKELY(owned)) {
        __atomic_store_n(at, lantern_bits(lantern_double(old) + amount), __ATOMIC_RELAXED);
    } else {
        while (!__atomic_compare_exchange_n(
            at, &old, lantern_bits(lantern_double(old) + amount), 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    }
}

/// Adds to a whole number, which wraps at 2^64.
static inline void lantern_cell_add(lantern_cells *_Nonnull cells, lantern_cell cell, uint64_t amount) {
    int owned;
    uint64_t *at = lantern_cell_mine(cells, cell, &owned);
    lantern_add_at(at, owned, amount);
}

/// Adds to a floating-point number.
static inline void lantern_cell_add_double(lantern_cells *_Nonnull cells, lantern_cell cell, double amount) {
    int owned;
    uint64_t *at = lantern_cell_mine(cells, cell, &owned);
    lantern_add_double_at(at, owned, amount);
}

/// The copies of one page, gathered once to sum up many cells.
typedef struct lantern_pages {
    const uint64_t *_Nullable page[LANTERN_SLOTS];
    uint32_t count;
} lantern_pages;

static inline void lantern_pages_gather(const lantern_cells *_Nonnull cells, uint32_t page, lantern_pages *_Nonnull pages) {
    pages->count = 0;
    for (uint32_t slot = 0; slot < LANTERN_SLOTS; slot++) {
        const uint64_t *copy = __atomic_load_n(&cells->pages[slot][page], __ATOMIC_ACQUIRE);
        if (copy) pages->page[pages->count++] = copy;
    }
}

/// The sum of all copies of a whole number.
static inline uint64_t lantern_pages_sum(const lantern_pages *_Nonnull pages, uint32_t offset) {
    uint64_t sum = 0;
    for (uint32_t copy = 0; copy < pages->count; copy++) {
        sum += __atomic_load_n(pages->page[copy] + offset, __ATOMIC_RELAXED);
    }
    return sum;
}

/// The sum of all copies of a floating-point number.
static inline double lantern_pages_sum_double(const lantern_pages *_Nonnull pages, uint32_t offset) {
    double sum = 0;
    for (uint32_t copy = 0; copy < pages->count; copy++) {
        sum += lantern_double(__atomic_load_n(pages->page[copy] + offset, __ATOMIC_RELAXED));
    }
    return sum;
}

// A number with one copy, that of slot 0, which is there since lantern_cells_prepare: what is set cannot be summed up.

static inline void lantern_cell_set_double(lantern_cells *_Nonnull cells, lantern_cell cell, double value) {
    uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    __atomic_store_n(page + cell.offset, lantern_bits(value), __ATOMIC_RELAXED);
}

static inline void lantern_cell_shared_add_double(lantern_cells *_Nonnull cells, lantern_cell cell, double amount) {
    uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    lantern_add_double_at(page + cell.offset, 0, amount);
}

static inline void lantern_cell_shared_add(lantern_cells *_Nonnull cells, lantern_cell cell, uint64_t amount) {
    uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    __atomic_fetch_add(page + cell.offset, amount, __ATOMIC_RELAXED);
}

// Bits with one copy.

static inline uint64_t lantern_cell_bits(const lantern_cells *_Nonnull cells, lantern_cell cell) {
    const uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    return __atomic_load_n(page + cell.offset, __ATOMIC_RELAXED);
}

/// Sets bits; answers what was there before.
static inline uint64_t lantern_cell_set_bits(lantern_cells *_Nonnull cells, lantern_cell cell, uint64_t bits) {
    uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    return __atomic_fetch_or(page + cell.offset, bits, __ATOMIC_RELAXED);
}

static inline void lantern_cell_clear_bits(lantern_cells *_Nonnull cells, lantern_cell cell, uint64_t bits) {
    uint64_t *page = __atomic_load_n(&cells->pages[0][cell.page], __ATOMIC_ACQUIRE);
    __atomic_fetch_and(page + cell.offset, ~bits, __ATOMIC_RELAXED);
}

// A histogram is a row of cells: the sum, then one count for each bound and one for what lies above all.

/// Index of the first bound that is not below the value (`le` includes its bound), or `count`. No branch depends on the
/// value, so nothing is mispredicted.
static inline uint32_t lantern_bucket(const double *_Nonnull bounds, uint32_t count, double value) {
    uint32_t low = 0, rest = count;
    while (rest > 1) {
        uint32_t half = rest / 2;
        low += bounds[low + half - 1] < value ? half : 0;
        rest -= half;
    }
    return rest == 1 && bounds[low] < value ? low + 1 : low;
}

/// Counts a whole number, such as nanoseconds; the sum is exact and wraps at 2^64.
static inline uint32_t lantern_observe(
    lantern_cells *_Nonnull cells, lantern_cell first, const double *_Nonnull bounds, uint32_t count, uint64_t value
) {
    uint32_t bucket = lantern_bucket(bounds, count, (double)value);
    int owned;
    uint64_t *at = lantern_cell_mine(cells, first, &owned);
    lantern_add_at(at + 1 + bucket, owned, 1);
    lantern_add_at(at, owned, value);
    return bucket;
}

/// Counts a floating-point number.
static inline uint32_t lantern_observe_double(
    lantern_cells *_Nonnull cells, lantern_cell first, const double *_Nonnull bounds, uint32_t count, double value
) {
    uint32_t bucket = lantern_bucket(bounds, count, value);
    int owned;
    uint64_t *at = lantern_cell_mine(cells, first, &owned);
    lantern_add_at(at + 1 + bucket, owned, 1);
    lantern_add_double_at(at, owned, value);
    return bucket;
}

// Exponential buckets of schema 3: bucket i holds the values above 2^((i-1)/8), up to and with 2^(i/8).

/// Index of a positive, finite value's bucket.
static inline int32_t lantern_native_index(double value) {
    // 2^(k/8) for k from 0: the mantissas at which buckets end.
    static const double ends[8] = {
        1.0, 1.0905077326652577, 1.189207115002721, 1.2968395546510096,
        1.4142135623730951, 1.5422108254079407, 1.681792830507429, 1.8340080864093424
    };
    uint64_t bits = lantern_bits(value);
    int32_t exponent = (int32_t)(bits >> 52);
    if (!LANTERN_LIKELY(exponent)) {
        // Subnormal: made normal by 2^64, which is taken back from the exponent.
        bits = lantern_bits(value * 18446744073709551616.0);
        exponent = (int32_t)(bits >> 52) - 64;
    }
    double mantissa = lantern_double((bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u);
    int32_t index = (exponent - 1023) * 8;
    for (int k = 0; k < 8; k++) index += ends[k] < mantissa;
    return index;
}

/// Counts a value into a row of one zero bucket and eight for each of `octaves` powers of two from `lowest` on; values that
/// are not above 2^lowest, down to its negative, count as zero. Answers 0, and counts nothing, for values outside.
static inline int lantern_observe_native(
    lantern_cells *_Nonnull cells, lantern_cell first, double value, int32_t lowest, int32_t octaves
) {
    int32_t place = 0;
    double zero = lantern_double((uint64_t)(1023 + lowest) << 52);
    if (value > zero) {
        place = value <= 1.7976931348623157e308 ? lantern_native_index(value) - lowest * 8 : 1 << 20;
        if (place > octaves * 8) return 0;
    } else if (!(value >= -zero)) {
        return 0;
    }
    int owned;
    uint64_t *at = lantern_cell_mine(cells, first, &owned);
    lantern_add_at(at + place, owned, 1);
    return 1;
}

/// Hash of some bytes, mixed into `seed`: two multiplications for each 16 bytes. Not for secrets; the seed is random for
/// each table, so that nobody outside can aim at a bucket.
static inline uint64_t lantern_hash(uint64_t seed, const uint8_t *_Nullable bytes, size_t length) {
    const uint64_t a = 0x9E3779B97F4A7C15u, b = 0xD6E8FEB86659FD93u;
    uint64_t hash = seed ^ (length * a);
    while (length >= 8) {
        uint64_t word;
        __builtin_memcpy(&word, bytes, 8);
        __uint128_t product = (__uint128_t)(hash ^ word) * a;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
        bytes += 8;
        length -= 8;
    }
    uint64_t tail = 0;
    if (length >= 4) {
        uint32_t low, high;
        __builtin_memcpy(&low, bytes, 4);
        __builtin_memcpy(&high, bytes + length - 4, 4);
        tail = (uint64_t)low << 32 | high;
    } else if (length > 0) {
        tail = (uint64_t)bytes[0] << 16 | (uint64_t)bytes[length / 2] << 8 | bytes[length - 1];
    }
    __uint128_t product = (__uint128_t)(hash ^ tail) * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

#endif
