// Tells ThreadSanitizer of the synchronization that it cannot see, so that it need not be told to look away.
//
// Loaded into the tests with LD_PRELOAD. Three kinds of hand-over are hidden from it:
//
// - Swift's Mutex takes a free lock by an atomic of the code that uses it, which ThreadSanitizer sees, but waits for a
//   taken one inside the runtime's library, which was not built for it.
// - A task whose continuation is resumed before it waits goes on at once, and the runtime, which does tell of tasks that
//   are resumed while they wait, does not tell of that. This mends it for withUnsafeContinuation, which is compiled into
//   the code that uses it; withCheckedContinuation goes on within the library.
// - C11's threads, mutexes and condition variables, by which Debian's librdkafka is built. ThreadSanitizer knows only
//   those of POSIX. In glibc both are the same objects under two names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "glibc's mtx_t is a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "glibc's cnd_t is a pthread_cond_t");

// Absent in a program that was not built for ThreadSanitizer, the shell that starts the tests for one.
extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

static void *original(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

// MARK: - Swift's Mutex

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK_SLOW "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lock_slow(uint32_t thread, SELF) __asm__(LOCK_SLOW);
SWIFT bool try_lock_slow(SELF) __asm__(TRY_LOCK_SLOW);
SWIFT void unlock_slow(SELF) __asm__(UNLOCK_SLOW);

SWIFT void lock_slow(uint32_t thread, SELF) {
    ((SWIFT void (*)(uint32_t, SELF))original(LOCK_SLOW))(thread, self);
    if (__tsan_acquire) __tsan_acquire(self);
}

SWIFT bool try_lock_slow(SELF) {
    bool locked = ((SWIFT bool (*)(SELF))original(TRY_LOCK_SLOW))(self);
    if (locked && __tsan_acquire) __tsan_acquire(self);
    return locked;
}

SWIFT void unlock_slow(SELF) {
    if (__tsan_release) __tsan_release(self);
    ((SWIFT void (*)(SELF))original(UNLOCK_SLOW))(self);
}

// MARK: - Continuations

#define ASYNC __attribute__((swiftasynccall))
#define CONTEXT __attribute__((swift_async_context)) struct continuation *context

// The beginning of what the compiler lays out for a continuation.
struct continuation {
    void *parent;
    ASYNC void (*resume_parent)(CONTEXT);
};

extern void *swift_task_getCurrent(void) __attribute__((weak));
// Its argument is an ordinary one in the runtime's declaration too.
ASYNC void swift_continuation_await(struct continuation *context);

// Where the task of this thread goes on. A task that has to wait is resumed by the address that the runtime took before,
// so only the one that does not wait comes through `resumed`, and does so before this thread does anything else.
static _Thread_local ASYNC void (*resume_parent)(CONTEXT);

ASYNC static void resumed(CONTEXT) {
    // What `resume` released.
    __tsan_acquire(swift_task_getCurrent());
    __attribute__((musttail)) return resume_parent(context);
}

ASYNC void swift_continuation_await(struct continuation *context) {
    ASYNC void (*await)(struct continuation *) = (ASYNC void (*)(struct continuation *))original("swift_continuation_await");
    if (__tsan_acquire && swift_task_getCurrent) {
        resume_parent = context->resume_parent;
        context->resume_parent = resumed;
    }
    __attribute__((musttail)) return await(context);
}

// MARK: - C11's threads

static int result(int error) {
    switch (error) {
    case 0: return thrd_success;
    case ENOMEM: return thrd_nomem;
    case ETIMEDOUT: return thrd_timedout;
    case EBUSY: return thrd_busy;
    default: return thrd_error;
    }
}

struct start {
    thrd_start_t function;
    void *argument;
};

static void *run(void *opaque) {
    struct start start = *(struct start *)opaque;
    free(opaque);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument) {
    struct start *start = malloc(sizeof *start);
    if (!start) return thrd_nomem;
    *start = (struct start){function, argument};
    int error = pthread_create(thread, NULL, run, start);
    if (error) free(start);
    return result(error);
}

int thrd_join(thrd_t thread, int *value) {
    void *returned = NULL;
    int error = pthread_join(thread, &returned);
    if (!error && value) *value = (int)(intptr_t)returned;
    return result(error);
}

int thrd_detach(thrd_t thread) { return result(pthread_detach(thread)); }

int mtx_init(mtx_t *mutex, int type) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (type & mtx_recursive) pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    int error = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return result(error);
}

void mtx_destroy(mtx_t *mutex) { pthread_mutex_destroy((pthread_mutex_t *)mutex); }
int mtx_lock(mtx_t *mutex) { return result(pthread_mutex_lock((pthread_mutex_t *)mutex)); }
int mtx_trylock(mtx_t *mutex) { return result(pthread_mutex_trylock((pthread_mutex_t *)mutex)); }
int mtx_unlock(mtx_t *mutex) { return result(pthread_mutex_unlock((pthread_mutex_t *)mutex)); }

int cnd_init(cnd_t *condition) { return result(pthread_cond_init((pthread_cond_t *)condition, NULL)); }
void cnd_destroy(cnd_t *condition) { pthread_cond_destroy((pthread_cond_t *)condition); }
int cnd_signal(cnd_t *condition) { return result(pthread_cond_signal((pthread_cond_t *)condition)); }
int cnd_broadcast(cnd_t *condition) { return result(pthread_cond_broadcast((pthread_cond_t *)condition)); }

int cnd_wait(cnd_t *condition, mtx_t *mutex) {
    return result(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    return result(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}
