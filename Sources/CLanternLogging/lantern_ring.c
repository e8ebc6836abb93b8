#define _GNU_SOURCE
#include "ring_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

// Appending

static void copy_in(lantern_ring *ring, uint64_t *tail, const void *bytes, uint32_t count) {
    uint32_t start = (uint32_t)(*tail & (ring->capacity - 1));
    uint32_t first = count < ring->capacity - start ? count : ring->capacity - start;
    memcpy(ring->bytes + start, bytes, first);
    memcpy(ring->bytes, (const uint8_t *)bytes + first, count - first);
    *tail += count;
}

int lantern_ring_tell_repeats(lantern_ring *ring) {
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
    return since != 0 && lantern_ring_now() - since > patience;
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
            if (is_first) ring->repeated_since = lantern_ring_now();
            // What is held back is bounded as what is in the ring is.
            if (ring->repeats * count >= ring->capacity) lantern_ring_tell_repeats(ring);
            pthread_mutex_unlock(&ring->lock);
            // It must look at its clock.
            if (is_first) lantern_ring_wake_thread(ring);
            return 1;
        }
        int has_room = ring->repeats == 0 || lantern_ring_tell_repeats(ring);
        uint64_t used = ring->tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        if (has_room && ring->capacity - used >= count) break;
        int gives_up;
        if (how & LANTERN_RING_BLOCK) {
            gives_up = __atomic_load_n(&ring->stop, __ATOMIC_SEQ_CST) != 0;
        } else {
            int64_t patience = how & LANTERN_RING_THROUGH ? PATIENCE : MOMENT;
            if (deadline == 0) deadline = lantern_ring_now() + patience;
            gives_up = lantern_ring_now() >= deadline || is_stalled(ring, patience / 2);
        }
        if (gives_up) {
            pthread_mutex_unlock(&ring->lock);
            __atomic_fetch_add(&ring->dropped, 1, __ATOMIC_RELAXED);
            return 0;
        }
        uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
        pthread_mutex_unlock(&ring->lock);
        lantern_ring_wake_thread(ring);
        int64_t until = lantern_ring_now() + 10000;
        lantern_ring_wait_for(ring, head + 1, deadline != 0 && deadline < until ? deadline : until);
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
        lantern_ring_wake_thread(ring);
    }
    if (how & LANTERN_RING_THROUGH && !is_stalled(ring, PATIENCE / 2)) lantern_ring_wait_for(ring, tail, lantern_ring_now() + PATIENCE);
    return 1;
}

int lantern_ring_flush(lantern_ring *ring, int64_t timeout) {
    int64_t deadline = lantern_ring_now() + timeout;
    for (;;) {
        pthread_mutex_lock(&ring->lock);
        int told = ring->repeats == 0 || lantern_ring_tell_repeats(ring);
        uint64_t tail = ring->tail;
        pthread_mutex_unlock(&ring->lock);
        lantern_ring_wake_thread(ring);
        int written = lantern_ring_wait_for(ring, told ? tail : tail - ring->capacity / 2, deadline);
        if (told || !written) return told && written;
    }
}

uint64_t lantern_ring_dropped(const lantern_ring *ring) { return __atomic_load_n(&ring->dropped, __ATOMIC_RELAXED); }

// Life

lantern_ring *lantern_rings[RINGS];

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
        error = pthread_create(&thread, NULL, lantern_ring_run, ring);
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
        if (__atomic_compare_exchange_n(&lantern_rings[index], &none, ring, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
    return ring;
}

void lantern_ring_destroy(lantern_ring *ring, int64_t timeout) {
    int64_t deadline = lantern_ring_now() + timeout;
    lantern_ring_flush(ring, timeout);
    for (int index = 0; index < RINGS; index++) {
        lantern_ring *own = ring;
        if (__atomic_compare_exchange_n(&lantern_rings[index], &own, NULL, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) break;
    }
    __atomic_store_n(&ring->stop, STOPPED, __ATOMIC_SEQ_CST);
    lantern_ring_wake_thread(ring);
    while (!__atomic_load_n(&ring->is_over, __ATOMIC_SEQ_CST)) {
        int64_t left = deadline + 100000 - lantern_ring_now();
        // It hangs in a write that nobody can end; it will look at this memory when it comes back, so the memory stays.
        if (left <= 0) {
            __atomic_store_n(&ring->stop, ABANDONED, __ATOMIC_SEQ_CST);
            return;
        }
        lantern_ring_wait_on(&ring->is_over, 0, left);
    }
    pthread_mutex_destroy(&ring->lock);
    free(ring->bytes);
    free(ring);
}
