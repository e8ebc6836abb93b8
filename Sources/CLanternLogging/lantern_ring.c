#define _GNU_SOURCE
#include "lantern_ring.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

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

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/// Waits while `*word` is `value`, `timeout` microseconds at most; below 0 without end.
static void wait_on(uint32_t *word, uint32_t value, int64_t timeout) {
    struct timespec time = {timeout / 1000000, timeout % 1000000 * 1000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout < 0 ? NULL : &time, NULL, 0);
}

static void wake_all(uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); }

/// Safe in a signal handler.
static void wake_thread(lantern_ring *ring) {
    if (__atomic_exchange_n(&ring->state, AWAKE, __ATOMIC_SEQ_CST) != AWAKE) wake_all(&ring->state);
}

static void advance(lantern_ring *ring, uint64_t head) {
    __atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
    __atomic_fetch_add(&ring->progress, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ring->waiting, __ATOMIC_SEQ_CST) != 0) wake_all(&ring->progress);
}

/// Waits until the head is at `position` or behind it. Answers whether it is.
static int wait_for(lantern_ring *ring, uint64_t position, int64_t deadline) {
    __atomic_fetch_add(&ring->waiting, 1, __ATOMIC_SEQ_CST);
    int reached;
    for (;;) {
        uint32_t progress = __atomic_load_n(&ring->progress, __ATOMIC_SEQ_CST);
        reached = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) >= position;
        int64_t left = deadline < 0 ? -1 : deadline - now();
        if (reached || (deadline >= 0 && left <= 0)) break;
        wait_on(&ring->progress, progress, left);
    }
    __atomic_fetch_sub(&ring->waiting, 1, __ATOMIC_SEQ_CST);
    return reached;
}

// The thread

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
        __atomic_store_n(&ring->busy_since, now(), __ATOMIC_RELAXED);
        ssize_t written = writev(ring->descriptor, parts, 3);
        if (written > 0) {
            uint64_t own = (uint64_t)written - parts[0].iov_len;
            ring->is_mid_line = 0;
            // Asked before the bytes are given back.
            if (own > 0) ring->ends_mid_line = ring->bytes[(head + own - 1) & (ring->capacity - 1)] != '\n';
            head += own;
            __atomic_store_n(&ring->busy_since, 0, __ATOMIC_RELAXED);
            advance(ring, head);
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
            advance(ring, head);
        }
    }
    __atomic_store_n(&ring->busy_since, 0, __ATOMIC_RELAXED);
}

static int tell_repeats(lantern_ring *ring);

/// The thread's rhythm, in microseconds: how long lines gather before they are written, many or few; and how long after the
/// last one it looks by itself for more. While it does, nobody has to wake it, which would cost them more than a line.
enum { GATHER_MANY = 100, GATHER_FEW = 1000, ATTENTIVE = 10000 };

static void *run(void *context) {
    lantern_ring *ring = context;
    int64_t last_drain = 0, gather = 0;
    // By default the kernel lets every timed wait take 50 microseconds longer.
    prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
    while (!__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) {
        uint64_t used = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE) - ring->head;
        int64_t since = now() - last_drain;
        if (used > ring->capacity / 2 || (used > 0 && since >= gather)) {
            gather = used > ring->capacity / 8 ? GATHER_MANY : GATHER_FEW;
            drain(ring);
            last_drain = now();
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
                int64_t rest = ring->repeated_since + ring->collapse - now();
                if (rest <= 0) {
                    tell_repeats(ring);
                    rest = 0;
                }
                if (wait < 0 || rest < wait) wait = rest;
            }
            pthread_mutex_unlock(&ring->lock);
        }
        uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST);
        if (wait != 0 && (state == LINGERING || tail - ring->head == used)
            && !__atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST)) {
            wait_on(&ring->state, state, wait);
        }
        // Whoever woke it wants what there is to be written now.
        if (__atomic_exchange_n(&ring->state, AWAKE, __ATOMIC_SEQ_CST) == AWAKE) last_drain = 0;
    }
    drain(ring);
    __atomic_store_n(&ring->is_over, 1, __ATOMIC_SEQ_CST);
    wake_all(&ring->is_over);
    return NULL;
}

// Appending

static void copy_in(lantern_ring *ring, uint64_t *tail, const void *bytes, uint32_t count) {
    uint32_t start = (uint32_t)(*tail & (ring->capacity - 1));
    uint32_t first = count < ring->capacity - start ? count : ring->capacity - start;
    memcpy(ring->bytes + start, bytes, first);
    memcpy(ring->bytes, (const uint8_t *)bytes + first, count - first);
    *tail += count;
}

/// Says how often the last line was there again. Under the lock. Answers whether there was room.
static int tell_repeats(lantern_ring *ring) {
    // By hand: a signal handler comes here, too.
    char text[24];
    char *count = text + sizeof text;
    for (uint64_t rest = ring->repeats; rest > 0; rest /= 10) *--count = (char)('0' + rest % 10);
    uint32_t digits = (uint32_t)(text + sizeof text - count);
    uint32_t before = (uint32_t)strlen(ring->before), behind = (uint32_t)strlen(ring->behind);
    uint64_t tail = ring->tail;
    uint64_t room = ring->capacity - (tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE));
    uint32_t kept = ring->last_count - behind;
    if (room < (uint64_t)kept + before + digits + behind) return 0;
    copy_in(ring, &tail, ring->last, kept);
    copy_in(ring, &tail, ring->before, before);
    copy_in(ring, &tail, count, digits);
    copy_in(ring, &tail, ring->behind, behind);
    __atomic_store_n(&ring->tail, tail, __ATOMIC_SEQ_CST);
    ring->repeats = 0;
    // The next equal one begins anew, so that a line that never ends to come is seen again and again.
    ring->last_count = 0;
    return 1;
}

/// How long a line waits for the reader, if it must be written through; otherwise none waits for the reader, but for the
/// thread, which may have to wait for a processor itself. In microseconds.
enum { PATIENCE = 50000, MOMENT = 2000 };

/// Whether the thread has been writing for longer than that.
static int is_stalled(lantern_ring *ring, int64_t patience) {
    int64_t since = __atomic_load_n(&ring->busy_since, __ATOMIC_RELAXED);
    return since != 0 && now() - since > patience;
}

int lantern_ring_append(lantern_ring *ring, const uint8_t *line, uint32_t count, uint32_t stamp, int how) {
    if (count == 0 || count > ring->capacity / 2) {
        __atomic_fetch_add(&ring->dropped, 1, __ATOMIC_RELAXED);
        return 0;
    }
    int64_t deadline = 0;
    pthread_mutex_lock(&ring->lock);
    for (;;) {
        if (ring->collapse > 0 && count == ring->last_count && stamp == ring->last_stamp
            && memcmp(line + stamp, ring->last + stamp, count - stamp) == 0) {
            memcpy(ring->last, line, stamp);
            int is_first = ring->repeats++ == 0;
            if (is_first) ring->repeated_since = now();
            // What is held back is bounded as what is in the ring is.
            if (ring->repeats * count >= ring->capacity) tell_repeats(ring);
            pthread_mutex_unlock(&ring->lock);
            // It must look at its clock.
            if (is_first) wake_thread(ring);
            return 1;
        }
        int has_room = ring->repeats == 0 || tell_repeats(ring);
        uint64_t used = ring->tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        if (has_room && ring->capacity - used >= count) break;
        int gives_up;
        if (how & LANTERN_RING_BLOCK) {
            gives_up = __atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST) != 0;
        } else {
            int64_t patience = how & LANTERN_RING_THROUGH ? PATIENCE : MOMENT;
            if (deadline == 0) deadline = now() + patience;
            gives_up = now() >= deadline || is_stalled(ring, patience / 2);
        }
        if (gives_up) {
            pthread_mutex_unlock(&ring->lock);
            __atomic_fetch_add(&ring->dropped, 1, __ATOMIC_RELAXED);
            return 0;
        }
        uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        pthread_mutex_unlock(&ring->lock);
        wake_thread(ring);
        int64_t until = now() + 10000;
        wait_for(ring, head + 1, deadline != 0 && deadline < until ? deadline : until);
        pthread_mutex_lock(&ring->lock);
    }
    uint64_t tail = ring->tail;
    copy_in(ring, &tail, line, count);
    if (ring->collapse > 0) {
        // One that is only its time and its end has no place for a count.
        int has_place = count <= COMPARED && count >= stamp + strlen(ring->behind);
        ring->last_count = has_place ? count : 0;
        ring->last_stamp = stamp;
        if (ring->last_count > 0) memcpy(ring->last, line, count);
    }
    __atomic_store_n(&ring->tail, tail, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&ring->lock);

    uint32_t state = __atomic_load_n(&ring->state, __ATOMIC_SEQ_CST);
    uint64_t used = tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
    if (state == SLEEPING || how & LANTERN_RING_THROUGH || (state == LINGERING && used > ring->capacity / 2)) {
        wake_thread(ring);
    }
    if (how & LANTERN_RING_THROUGH && !is_stalled(ring, PATIENCE / 2)) wait_for(ring, tail, now() + PATIENCE);
    return 1;
}

int lantern_ring_flush(lantern_ring *ring, int64_t timeout) {
    int64_t deadline = now() + timeout;
    for (;;) {
        pthread_mutex_lock(&ring->lock);
        int told = ring->repeats == 0 || tell_repeats(ring);
        uint64_t tail = ring->tail;
        pthread_mutex_unlock(&ring->lock);
        wake_thread(ring);
        int written = wait_for(ring, told ? tail : tail - ring->capacity / 2, deadline);
        if (told || !written) return told && written;
    }
}

uint64_t lantern_ring_dropped(const lantern_ring *ring) { return __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED); }

// Life

enum { RINGS = 16 };
/// Those that a signal must wait for.
static lantern_ring *rings[RINGS];

lantern_ring *lantern_ring_create(
    int descriptor, uint32_t capacity, int64_t collapse, const char *before, const char *behind
) {
    if (capacity < 4096 || (capacity & (capacity - 1)) != 0 || strlen(before) > 15 || strlen(behind) > 7) {
        errno = EINVAL;
        return NULL;
    }
    lantern_ring *ring = calloc(1, sizeof(lantern_ring));
    if (ring == NULL) return NULL;
    ring->bytes = malloc(capacity);
    ring->capacity = capacity;
    ring->descriptor = descriptor;
    ring->collapse = collapse;
    strcpy(ring->before, before);
    strcpy(ring->behind, behind);
    int error = ring->bytes == NULL ? ENOMEM : pthread_mutex_init(&ring->lock, NULL);
    if (error == 0) {
        // No signal is handled here, and one for a closed pipe stays away.
        sigset_t all, before_it;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_it);
        pthread_t thread;
        error = pthread_create(&thread, NULL, run, ring);
        pthread_sigmask(SIG_SETMASK, &before_it, NULL);
        if (error == 0) {
            pthread_setname_np(thread, "lantern-log");
            pthread_detach(thread);
        } else {
            pthread_mutex_destroy(&ring->lock);
        }
    }
    if (error != 0) {
        free(ring->bytes);
        free(ring);
        errno = error;
        return NULL;
    }
    for (int index = 0; index < RINGS; index++) {
        lantern_ring *none = NULL;
        if (__atomic_compare_exchange_n(&rings[index], &none, ring, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
    return ring;
}

void lantern_ring_destroy(lantern_ring *ring, int64_t timeout) {
    int64_t deadline = now() + timeout;
    lantern_ring_flush(ring, timeout);
    for (int index = 0; index < RINGS; index++) {
        lantern_ring *own = ring;
        if (__atomic_compare_exchange_n(&rings[index], &own, NULL, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
    __atomic_store_n(&ring->stop, STOPPED, __ATOMIC_SEQ_CST);
    wake_thread(ring);
    while (!__atomic_load_n(&ring->is_over, __ATOMIC_SEQ_CST)) {
        int64_t left = deadline + 100000 - now();
        // It hangs in a write that nobody can end; it will look at this memory when it comes back, so the memory stays.
        if (left <= 0) {
            __atomic_store_n(&ring->stop, ABANDONED, __ATOMIC_SEQ_CST);
            return;
        }
        wait_on(&ring->is_over, 0, left);
    }
    pthread_mutex_destroy(&ring->lock);
    free(ring->bytes);
    free(ring);
}

// Signals

static const int deadly[] = {
    SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGSEGV, SIGSYS,  SIGTRAP, SIGTERM,   SIGINT,  SIGHUP,
    SIGQUIT, SIGXCPU, SIGXFSZ, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF,
};
enum { DEADLY = sizeof deadly / sizeof deadly[0] };
static struct sigaction earlier[DEADLY];

/// Only what a signal handler may do: atomics, futex, clock_gettime, nanosleep, and a lock that is not waited for.
static void write_all(void) {
    int64_t deadline = now() + 500000;
    for (int index = 0; index < RINGS; index++) {
        lantern_ring *ring = __atomic_load_n(&rings[index], __ATOMIC_SEQ_CST);
        if (ring == NULL) continue;
        // Counts that are held back need the lock, which the very thread that ends may hold.
        if (pthread_mutex_trylock(&ring->lock) == 0) {
            if (ring->repeats > 0) tell_repeats(ring);
            pthread_mutex_unlock(&ring->lock);
        }
        while (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) < __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)
               && now() < deadline) {
            wake_thread(ring);
            struct timespec pause = {0, 200000};
            nanosleep(&pause, NULL);
        }
    }
}

static void on_signal(int number, siginfo_t *info, void *context) {
    int saved = errno;
    write_all();
    errno = saved;
    for (int index = 0; index < DEADLY; index++) {
        if (deadly[index] != number) continue;
        // As if this handler had never been: the default, or whoever was there before.
        struct sigaction *before = &earlier[index];
        if (before->sa_flags & SA_SIGINFO && before->sa_sigaction != NULL) {
            before->sa_sigaction(number, info, context);
        } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
            before->sa_handler(number);
        } else {
            sigaction(number, before, NULL);
            // A fault happens again when this returns; a signal that was sent must be sent again.
            raise(number);
        }
    }
}

static void install(void) {
    for (int index = 0; index < DEADLY; index++) {
        if (sigaction(deadly[index], NULL, &earlier[index]) != 0) continue;
        if (!(earlier[index].sa_flags & SA_SIGINFO) && earlier[index].sa_handler == SIG_IGN) continue;
        struct sigaction own;
        memset(&own, 0, sizeof own);
        own.sa_sigaction = on_signal;
        // On the alternative stack where there is one: a stack that overflowed cannot be used.
        own.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigfillset(&own.sa_mask);
        sigaction(deadly[index], &own, NULL);
    }
    atexit(write_all);
}

void lantern_rings_survive_signals(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
}
