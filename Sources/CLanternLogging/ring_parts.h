#ifndef LANTERN_RING_PARTS_H
#define LANTERN_RING_PARTS_H
#include "lantern_ring.h"

#include <pthread.h>

/// What the parts of the ring share. Nothing outside this target sees it.

enum { AWAKE = 0, LINGERING = 1, SLEEPING = 2 };
enum { STOPPED = 1, ABANDONED = 2 };

/// The longest line that is compared with its predecessor.
enum { COMPARED = 4096 };

struct lantern_ring {
    // Shared by all. Positions only grow; a byte's place is its position modulo the capacity.
    uint64_t tail;      // all before it is appended; written under the lock
    uint64_t head;      // all before it is written, or given up; written by the thread only
    uint64_t dropped;
    uint32_t state;     // of the thread: a futex
    uint32_t progress;  // counts advances of the head: a futex
    uint32_t waiting;   // for that
    uint32_t stop;
    uint32_t is_over;   // the thread has ended: a futex
    int64_t busy_since; // when the write began that is under way; 0 for none

    // Constant.
    uint8_t *bytes;
    uint32_t capacity;
    int descriptor;
    int64_t collapse;
    char before[16], behind[8];

    // Under the lock.
    pthread_mutex_t lock;
    uint8_t last[COMPARED];
    uint32_t last_count, last_stamp;
    uint64_t repeats;
    int64_t repeated_since;

    // The thread's own: whether the last byte that was written is within a line, and whether that line was given up.
    int ends_mid_line, is_mid_line;
};

/// Of the monotonic clock, in microseconds.
int64_t lantern_ring_now(void);
/// Waits while `*word` is `value`, `timeout` microseconds at most; below 0 without end.
void lantern_ring_wait_on(uint32_t *word, uint32_t value, int64_t timeout);
void lantern_ring_wake_all(uint32_t *word);
/// Safe in a signal handler.
void lantern_ring_wake_thread(lantern_ring *ring);
/// Says that all before `head` is written, or given up.
void lantern_ring_advance(lantern_ring *ring, uint64_t head);
/// Waits until the head is at `position` or behind it. Answers whether it is.
int lantern_ring_wait_for(lantern_ring *ring, uint64_t position, int64_t deadline);
/// Says how often the last line was there again. Under the lock. Answers whether there was room.
int lantern_ring_tell_repeats(lantern_ring *ring);
/// The body of the thread.
void *lantern_ring_run(void *ring);

/// Those that a signal must wait for.
enum { RINGS = 16 };
extern lantern_ring *lantern_rings[RINGS];
#endif
