#define _GNU_SOURCE
#include "ring_parts.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int64_t lantern_ring_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

void lantern_ring_wait_on(uint32_t *word, uint32_t value, int64_t timeout) {
    struct timespec time = {timeout / 1000000, timeout % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout < 0 ? NULL : &time, NULL, 0);
}

void lantern_ring_wake_all(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

void lantern_ring_wake_thread(lantern_ring *ring) {
    if (__atomic_exchange_n(&ring->state, AWAKE, __ATOMIC_SEQ_CST) != AWAKE) lantern_ring_wake_all(&ring->state);
}

void lantern_ring_advance(lantern_ring *ring, uint64_t head) {
    __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
    __atomic_fetch_add(&ring->progress, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->waiting, __ATOMIC_SEQ_CST) != 0) lantern_ring_wake_all(&ring->progress);
}

int lantern_ring_wait_for(lantern_ring *ring, uint64_t position, int64_t deadline) {
    __atomic_fetch_add(&ring->waiting, 1, __ATOMIC_SEQ_CST);
    int reached;
    for (;;) {
        uint32_t progress = __atomic_load_n(&ring->progress, __ATOMIC_SEQ_CST);
        reached = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) >= position;
        int64_t left = deadline < 0 ? -1 : deadline - lantern_ring_now();
        if (reached || (deadline >= 0 && left <= 0)) break;
        lantern_ring_wait_on(&ring->progress, progress, left);
    }
    __atomic_fetch_sub(&ring->waiting, 1, __ATOMIC_SEQ_CST);
    return reached;
}

static uint64_t newlines(const lantern_ring *ring, uint64_t from, uint64_t to) {
    uint64_t count = 0;
    for (; from < to; from++) count += ring->bytes[from & (ring->capacity - 1)] == '\n';
    return count;
}

/// Writes all there is now.
static void drain(lantern_ring *ring) {
    uint64_t head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
    // Once it is abandoned, the descriptor may be somebody else's.
    while (head < tail && __atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST) != ABANDONED) {
        uint32_t start = (uint32_t)(head & (ring->capacity - 1));
        uint64_t count = tail - head, first = count < ring->capacity - start ? count : ring->capacity - start;
        struct iovec parts[3] = {
            {"\n", ring->is_mid_line ? 1 : 0}, {ring->bytes + start, first}, {ring->bytes, count - first},
        };
        __atomic_store_n(&ring->busy_since, lantern_ring_now(), __ATOMIC_RELAXED);
        ssize_t written = writev(ring->descriptor, parts, 3);
        if (written > 0) {
            uint64_t own = (uint64_t)written - parts[0].iov_len;
            ring->is_mid_line = 0;
            // Asked before the bytes are given back.
            if (own > 0) ring->ends_mid_line = ring->bytes[(head + own - 1) & (ring->capacity - 1)] != '\n';
            head += own;
            __atomic_store_n(&ring->busy_since, 0, __ATOMIC_RELAXED);
            lantern_ring_advance(ring, head);
        } else if (written < 0 && errno == EINTR) {
            continue;
        } else if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            // Busy since the first refusal, or nobody would know that the reader stands still.
            int64_t since = __atomic_load_n(&ring->busy_since, __ATOMIC_RELAXED);
            struct pollfd ready = {ring->descriptor, POLLOUT, 0};
            while (poll(&ready, 1, 100) == 0) {
                __atomic_store_n(&ring->busy_since, since, __ATOMIC_RELAXED);
                if (__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) break;
            }
            if (__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST) && ready.revents == 0) return;
        } else {
            // Closed, or full. What there is has no other place to go; a line that was begun counts as well, and the next
            // one must not be glued to it.
            ring->is_mid_line |= ring->ends_mid_line;
            ring->ends_mid_line = 0;
            __atomic_fetch_add(&ring->dropped, newlines(ring, head, tail), __ATOMIC_RELAXED);
            __atomic_store_n(&ring->busy_since, 0, __ATOMIC_RELAXED);
            head = tail;
            lantern_ring_advance(ring, head);
        }
    }
    __atomic_store_n(&ring->busy_since, 0, __ATOMIC_RELAXED);
}

/// The thread's rhythm, in microseconds: how long lines gather before they are written, many or few; and how long after the
/// last one it looks by itself for more. While it does, nobody has to wake it, which would cost them more than a line.
enum { GATHER_MANY = 100, GATHER_FEW = 1000, ATTENTIVE = 10000 };

void *lantern_ring_run(void *context) {
    lantern_ring *ring = context;
    int64_t last_drain = 0, gather = 0;
    // By default the kernel lets every timed wait take 50 microseconds longer.
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    while (!__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) {
        uint64_t used = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) - ring->head;
        int64_t since = lantern_ring_now() - last_drain;
        if (used > ring->capacity / 2 || (used > 0 && since >= gather)) {
            gather = used > ring->capacity / 8 ? GATHER_MANY : GATHER_FEW;
            drain(ring);
            last_drain = lantern_ring_now();
            continue;
        }
        int is_attentive = used > 0 || since < ATTENTIVE;
        uint32_t state = is_attentive ? LINGERING : SLEEPING;
        // Before anything is looked at for the last time: whoever changes it after that sees that the thread must be woken.
        __atomic_store_n(&ring->state, state, __ATOMIC_SEQ_CST);
        int64_t wait = used > 0 ? gather - since : is_attentive ? GATHER_FEW : -1;
        if (used == 0) {
            pthread_mutex_lock(&ring->lock);
            if (ring->repeats > 0) {
                int64_t rest = ring->repeated_since + ring->collapse - lantern_ring_now();
                if (rest <= 0) {
                    lantern_ring_tell_repeats(ring);
                    rest = 0;
                }
                if (wait < 0 || rest < wait) wait = rest;
            }
            pthread_mutex_unlock(&ring->lock);
        }
        uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST);
        if (wait != 0 && (state == LINGERING || tail - ring->head == used)
            && !__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) {
            lantern_ring_wait_on(&ring->state, state, wait);
        }
        // Whoever woke it wants what there is to be written now.
        if (__atomic_exchange_n(&ring->state, AWAKE, __ATOMIC_SEQ_CST) == AWAKE) last_drain = 0;
    }
    drain(ring);
    __atomic_store_n(&ring->is_over, 1, __ATOMIC_SEQ_CST);
    lantern_ring_wake_all(&ring->is_over);
    return NULL;
}
