#include "ring_parts.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int deadly[] = {
    SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGSEGV, SIGSYS,  SIGTRAP, SIGTERM,   SIGINT,  SIGHUP,
    SIGQUIT, SIGXCPU, SIGXFSZ, SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGPROF,
};
enum { DEADLY = sizeof deadly / sizeof deadly[0] };
static struct sigaction earlier[DEADLY];

/// Only what a signal handler may do: atomics, futex, clock_gettime, nanosleep, and a lock that is not waited for.
static void write_all(void) {
    int64_t deadline = lantern_ring_now() + 500000;
    for (int index = 0; index < RINGS; index++) {
        lantern_ring *ring = __atomic_load_n(&lantern_rings[index], __ATOMIC_SEQ_CST);
        if (ring == NULL) continue;
        // Counts that are held back need the lock, which the very thread that ends may hold.
        if (pthread_mutex_trylock(&ring->lock) == 0) {
            if (ring->repeats > 0) lantern_ring_tell_repeats(ring);
            pthread_mutex_unlock(&ring->lock);
        }
        while (__atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) < __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)
               && lantern_ring_now() < deadline) {
            lantern_ring_wake_thread(ring);
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
