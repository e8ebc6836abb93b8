#ifndef LANTERN_RING_H
#define LANTERN_RING_H
#include <stdint.h>

/// A bounded ring of whole lines with one thread that writes them to a descriptor by `writev`.
///
/// Any thread may append. Lines are in the order in which they were appended, and never mix. The ring's size is what a
/// process that is killed can lose at most: its thread writes whatever is there within a millisecond. Only counts of lines
/// that are equal are held back longer, until they stand for as many bytes.
typedef struct lantern_ring lantern_ring;

enum {
    /// Write through: wait until the line is written, 50 ms at most, and not at all where the reader is known to stand still.
    LANTERN_RING_THROUGH = 1,
    /// Wait for room as long as it takes; otherwise a line that finds no room within 2 ms, in which the thread may just not
    /// have got a processor, is dropped and counted; at once where the reader is known to stand still.
    LANTERN_RING_BLOCK = 2,
};

/// A ring of `capacity` bytes (a power of two) with its thread. NULL with errno set where it cannot be had.
/// `collapse` is how long, in microseconds, lines that are equal but for their time may be held back to be counted; 0 writes
/// each. `before` and `behind` stand around that count, the latter in place of as many bytes at the line's end.
lantern_ring *lantern_ring_create(
    int descriptor, uint32_t capacity, int64_t collapse, const char *before, const char *behind
);
/// Writes what is there, `timeout` microseconds at most, and stops the thread. Nobody may use the ring any more.
void lantern_ring_destroy(lantern_ring *ring, int64_t timeout);

/// Appends a line, newline included, whose first `stamp` bytes are its time. Answers whether it was taken.
int lantern_ring_append(lantern_ring *ring, const uint8_t *line, uint32_t count, uint32_t stamp, int how);
/// Waits until all that was appended before is written, `timeout` microseconds at most; answers whether
/// none of it waits any more.
int lantern_ring_flush(lantern_ring *ring, int64_t timeout);
/// Lines that were not taken, or that the descriptor refused.
uint64_t lantern_ring_dropped(const lantern_ring *ring);

/// From now on, a signal that ends the process (a trap of Swift among them), and `exit`, first let all rings be written,
/// half a second at most; of more than 16 rings, the first 16. Signals that somebody else handles are passed on to them. Once for each process.
void lantern_rings_survive_signals(void);
#endif
