#ifndef EVENTS_BASELINE_H
#define EVENTS_BASELINE_H
#include <stddef.h>

/// The event path in plain C on librdkafka and libpq: what the Swift wrappers are measured against.
///
/// Each function makes its own clients, measures, and closes them. It answers 0, or -1 with a text in `error`, which is
/// always terminated. `seconds` is monotonic time of the measured part only: connecting, preparing and closing are no
/// part of it. The librdkafka properties are those of LanternKafka, where they bear on speed; but the queue of a
/// consumer has no bound that it would meet.
///
/// A producer is warmed up before the clock starts by one record to a topic of its own, `lantern-baseline-warm-up`,
/// which must exist or be created by the broker. The measured topic gets what is measured and nothing else.

/// One record of `size` bytes without a key; waits for its delivery report, blocked in `rd_kafka_poll`; then the next.
int lantern_c_produce_sequential(
    const char *servers, const char *topic, long count, size_t size, char *error, size_t error_size, double *seconds
);

/// The same with `in_flight` records unacknowledged at a time. The time ends with the last report.
int lantern_c_produce_window(
    const char *servers, const char *topic, long count, size_t size, long in_flight, char *error, size_t error_size,
    double *seconds
);

/// Reads `count` records from the beginning of all partitions, in no group, by `rd_kafka_consume_batch_queue` of at
/// most `batch`, and every byte of their values. The time starts when the first batch is there. Fails where nothing
/// comes for ten seconds.
int lantern_c_consume(
    const char *servers, const char *topic, long count, size_t batch, char *error, size_t error_size, double *seconds
);

/// The same by `rd_kafka_consumer_poll`, one by one. The time starts when the first record is there.
int lantern_c_consume_poll(
    const char *servers, const char *topic, long count, char *error, size_t error_size, double *seconds
);

/// The relay's loop: selects sealed rows behind the watermark of `source`, `limit` at a time, sends each as a
/// CloudEvent to the topic that it names, waits for all reports, and moves the watermark; until a SELECT finds nothing.
/// `topic` is the one that is known before the clock starts, so most rows should name it.
/// - `events`: How many were sent.
int lantern_c_relay(
    const char *conninfo, const char *source, const char *servers, const char *topic, long limit, char *error,
    size_t error_size, double *seconds, long *events
);

/// One `COPY … FROM STDIN` in a transaction of its own, by one statement without BEGIN.
int lantern_c_copy(
    const char *conninfo, const char *statement, const char *bytes, size_t size, char *error, size_t error_size,
    double *seconds
);

/// `transactions` times, on one connection: BEGIN, `count` statements `COPY … FROM STDIN`, COMMIT.
/// - `statements`: `count` of them, the same in each transaction.
/// - `bytes`, `sizes`: `transactions * count` of them, those of the first transaction first.
int lantern_c_copy_all(
    const char *conninfo, const char *const statements[], const char *const bytes[], const size_t sizes[], size_t count,
    size_t transactions, char *error, size_t error_size, double *seconds
);
#endif
