#define _GNU_SOURCE
#include "broker_port.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// The mock cluster's sockets are bound on the thread that calls rd_kafka_mock_cluster_new, hence thread-local.
static _Thread_local uint16_t wanted = 0;
static _Thread_local int outcome = -1;
static _Thread_local int making = 0;

void lantern_broker_port_set(uint16_t port) {
    wanted = port;
    outcome = -1;
    making = 1;
}

int lantern_broker_port_check(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int error = syscall(SYS_bind, fd, &address, sizeof address) == 0 ? 0 : errno;
    if (error == 0 && listen(fd, 1) != 0) error = errno;
    close(fd);
    return error;
}

int lantern_broker_port_clear(void) {
    wanted = 0;
    making = 0;
    return outcome;
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    if (making) {
        // Accepted sockets inherit it. Without, the second of two answers waits some 40 ms for the client's delayed
        // acknowledgement of the first, which no real broker does.
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (wanted != 0 && address != NULL && address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in changed = *(const struct sockaddr_in *)address;
        if (changed.sin_port == 0) {
            changed.sin_port = htons(wanted);
            int on = 1;
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            wanted = 0;
            int status = (int)syscall(SYS_bind, fd, &changed, sizeof changed);
            outcome = status == 0 ? 0 : errno;
            return status;
        }
    }
    return (int)syscall(SYS_bind, fd, address, length);
}
