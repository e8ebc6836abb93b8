#ifndef BASELINE_PRODUCER_H
#define BASELINE_PRODUCER_H
#include "outcome.h"
#include <librdkafka/rdkafka.h>

/// An idempotent producer. Its delivery reports count here, in the thread that polls.
struct baseline_producer {
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    /// Records that have had their report, since the start or the last reset.
    long reported;
    /// The first failure of a report.
    rd_kafka_resp_err_t failure;
};

/// Connects, gets a producer id and learns the topic, so that the next record meets nothing that is done once.
/// The structure must stay where it is until ``baseline_producer_stop``.
int baseline_producer_start(
    struct baseline_producer *producer, const char *servers, const char *topic, struct baseline_error error
);

/// Blocks in `rd_kafka_poll` until `reported` is at least this; each record's report comes within `message.timeout.ms`.
int baseline_producer_await(struct baseline_producer *producer, long reported, struct baseline_error error);

/// After this nothing of the caller's memory is used any more, whatever was under way.
void baseline_producer_stop(struct baseline_producer *producer);
#endif
