#ifndef BASELINE_EVENT_RECORD_H
#define BASELINE_EVENT_RECORD_H
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>

/// The columns of `unpublished`, in this order, in binary format.
#define BASELINE_EVENT_COLUMNS                                                                                       \
    "sequence, id, topic, key, type, time, subject, subject_version, data_schema, content_type, data, tenant, "      \
    "actor_id, actor_type, actor_ip, outcome, traceparent, tracestate, baggage"

enum baseline_event_column {
    EVENT_SEQUENCE, EVENT_ID, EVENT_TOPIC, EVENT_KEY, EVENT_TYPE, EVENT_TIME, EVENT_SUBJECT, EVENT_SUBJECT_VERSION,
    EVENT_DATA_SCHEMA, EVENT_CONTENT_TYPE, EVENT_DATA, EVENT_TENANT, EVENT_ACTOR_ID, EVENT_ACTOR_TYPE, EVENT_ACTOR_IP,
    EVENT_OUTCOME, EVENT_TRACEPARENT, EVENT_TRACESTATE, EVENT_BAGGAGE
};

/// What all events of a relay have in common.
struct baseline_event_source {
    const char *name;
    int64_t epoch;
};

/// Hands a row to the producer as a CloudEvent in binary mode. librdkafka copies key and headers; the value stays in
/// `rows`, which must live until its report.
rd_kafka_resp_err_t baseline_event_produce(
    rd_kafka_t *client, rd_kafka_topic_t *topic, const struct baseline_event_source *source, const PGresult *rows,
    int row
);
#endif
