#define _GNU_SOURCE
#include "lantern_system.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int lantern_eventfd(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

void lantern_eventfd_signal(int fd) {
    uint64_t one = 1;
    // The counter can only be full after 2^64-2 signals without a drain; then the reader is awake anyway.
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
}

void lantern_eventfd_drain(int fd) {
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);
    (void)ignored;
}

struct start {
    void (*body)(void *);
    void *context;
    char name[16];
};

static void *enter(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    pthread_setname_np(pthread_self(), start.name);
    start.body(start.context);
    return NULL;
}

int lantern_thread_start(const char *name, void (*body)(void *), void *context) {
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL) return ENOMEM;
    start->body = body;
    start->context = context;
    strncpy(start->name, name, sizeof start->name - 1);

    // Signals belong to the main thread: a thread of a C library must never take a SIGTERM.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    pthread_t thread;
    int status = pthread_create(&thread, &attributes, enter, start);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
    if (status != 0) free(start);
    return status;
}

int lantern_spawn(
    const char *path, char *const arguments[], char *const environment[], const char *directory, int output,
    uint32_t user, uint32_t group, int death_signal
) {
    // The pipe tells whether exec worked: it closes on success and carries errno on failure.
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return -errno;
    sigset_t none;
    sigemptyset(&none);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(report[0]);
        close(report[1]);
        return -error;
    }
    if (child == 0) {
        // Only async-signal-safe calls from here to exec.
        setpgid(0, 0);
        sigprocmask(SIG_SETMASK, &none, NULL);
        for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
        int null = open("/dev/null", O_RDONLY);
        if (null >= 0) dup2(null, 0);
        if (output >= 0) {
            dup2(output, 1);
            dup2(output, 2);
        }
        int failed = 0;
        if (user != 0 && (setgroups(0, NULL) != 0 || setgid(group) != 0 || setuid(user) != 0)) failed = errno;
        if (!failed && directory != NULL && chdir(directory) != 0) failed = errno;
        close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
        // After setuid, which clears it; and the parent may already be gone.
        prctl(PR_SET_PDEATHSIG, death_signal);
        if (getppid() != parent) _exit(1);
        if (!failed) {
            execve(path, arguments, environment);
            failed = errno;
        }
        ssize_t ignored = write(report[1], &failed, sizeof failed);
        (void)ignored;
        _exit(127);
    }
    close(report[1]);
    int failed = 0;
    ssize_t count;
    do count = read(report[0], &failed, sizeof failed);
    while (count < 0 && errno == EINTR);
    close(report[0]);
    return count == (ssize_t)sizeof failed ? -failed : child;
}

int lantern_wait(int pid) {
    int status;
    pid_t ended;
    do ended = waitpid(pid, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0) return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
