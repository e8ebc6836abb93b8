#ifndef LANTERN_BROKER_PORT_H
#define LANTERN_BROKER_PORT_H
#include <stdint.h>

/// librdkafka's mock cluster lets the system choose its port and has no call to fix it. This target defines `bind`,
/// which the dynamic linker prefers over libc's: the next bind of the calling thread to 127.0.0.1 with port 0 takes
/// `port` instead (0 leaves the choice to the system), and sends without delay. Every other bind passes through unchanged. Linked only where an embedded broker runs.
void lantern_broker_port_set(uint16_t port);
/// Whether a port of 127.0.0.1 can be bound: 0, or the errno. To be asked first, because librdkafka aborts the process
/// when the bind of a mock cluster fails.
int lantern_broker_port_check(uint16_t port);
/// Forgets a port that was not taken. Answers the errno of the bind that took it, 0 if that succeeded, -1 if none did.
int lantern_broker_port_clear(void);
#endif
