#ifndef LANTERN_SYSTEM_H
#define LANTERN_SYSTEM_H
#include <stdint.h>

/// What Swift's Glibc module does not offer: eventfd, named threads, and a child that dies with its parent.

/// A non-blocking, close-on-exec eventfd; -1 with errno set on failure.
int lantern_eventfd(void);
/// Adds one to the eventfd: wakes whoever polls it. Callable from any thread.
void lantern_eventfd_signal(int fd);
/// Takes all that was signalled, so that the next poll waits again.
void lantern_eventfd_drain(int fd);

/// Starts a detached thread with all signals blocked; answers 0, or the error number of `pthread_create`.
/// `name` is cut to the 15 bytes that Linux keeps.
int lantern_thread_start(const char *name, void (*body)(void *), void *context);

/// Starts `path` with `arguments` and `environment` (both NULL-terminated), in a process group of its own, standard
/// output and error going to `output` (a descriptor), all other descriptors closed, and `death_signal` to the child
/// when the calling *thread* ends, which is when its process is killed at the latest.
/// When `user` is not 0 the child becomes that user and group. Answers the process id, or the negative errno.
int lantern_spawn(
    const char *path, char *const arguments[], char *const environment[], const char *directory, int output,
    uint32_t user, uint32_t group, int death_signal
);

/// Waits for a child to end; answers its exit code, or 128 and the signal that ended it, or -1 where there is no child.
int lantern_wait(int pid);
#endif
