#include "event_record.h"
#include "event_text.h"
#include "events_baseline.h"
#include "postgres.h"
#include "producer.h"
#include <string.h>

static const Oid bigint = 20, text = 25;

struct relay {
    PGconn *connection;
    struct baseline_producer producer;
    struct baseline_event_source source;
    int64_t published_through;
    long limit;
};

/// Eight big-endian bytes, as PostgreSQL reads a `bigint` parameter.
static void encode(int64_t value, char bytes[8]) {
    for (int index = 7; index >= 0; index--) {
        bytes[index] = (char)(value & 255);
        value >>= 8;
    }
}

static int prepare(
    PGconn *connection, const char *name, const char *statement, const Oid types[], int count,
    struct baseline_error error
) {
    PGresult *result = PQprepare(connection, name, statement, count, types);
    if (baseline_expect(connection, result, PGRES_COMMAND_OK, error) != 0) return -1;
    PQclear(result);
    return 0;
}

static int read_head(struct relay *relay, struct baseline_error error) {
    const char *values[] = {relay->source.name};
    PGresult *result = PQexecParams(
        relay->connection, "SELECT epoch, published_through FROM outbox_head WHERE source = $1", 1, &text, values, NULL,
        NULL, 1);
    if (baseline_expect(relay->connection, result, PGRES_TUPLES_OK, error) != 0) return -1;
    int found = PQntuples(result) == 1;
    if (found) {
        relay->source.epoch = baseline_int8(PQgetvalue(result, 0, 0));
        relay->published_through = baseline_int8(PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return found ? 0 : baseline_fail(error, "%s has no outbox head", relay->source.name);
}

/// The unpublished rows, by the index `outbox_sequence`. NULL with a text in `error`.
static PGresult *unpublished(struct relay *relay, struct baseline_error error) {
    char epoch[8], published[8], limit[8];
    encode(relay->source.epoch, epoch);
    encode(relay->published_through, published);
    encode(relay->limit, limit);
    const char *values[] = {epoch, published, limit};
    const int lengths[] = {8, 8, 8}, formats[] = {1, 1, 1};
    PGresult *rows = PQexecPrepared(relay->connection, "unpublished", 3, values, lengths, formats, 1);
    return baseline_expect(relay->connection, rows, PGRES_TUPLES_OK, error) == 0 ? rows : NULL;
}

static int mark_published(struct relay *relay, int64_t sequence, struct baseline_error error) {
    char through[8];
    encode(sequence, through);
    const char *values[] = {through, relay->source.name};
    const int lengths[] = {8, 0}, formats[] = {1, 0};
    PGresult *result = PQexecPrepared(relay->connection, "mark", 2, values, lengths, formats, 1);
    if (baseline_expect(relay->connection, result, PGRES_COMMAND_OK, error) != 0) return -1;
    int moved = strcmp(PQcmdTuples(result), "1") == 0;
    PQclear(result);
    if (!moved) return baseline_fail(error, "the watermark of %s did not move", relay->source.name);
    relay->published_through = sequence;
    return 0;
}

/// Hands over a row, to the topic that it names; it is looked up only where it is not that of the last row.
static int produce(struct relay *relay, const PGresult *rows, int row, struct baseline_error error) {
    struct baseline_producer *producer = &relay->producer;
    const char *name = PQgetvalue(rows, row, EVENT_TOPIC);
    if (strcmp(name, rd_kafka_topic_name(producer->topic)) != 0) {
        rd_kafka_topic_t *topic = rd_kafka_topic_new(producer->client, name, NULL);
        if (topic == NULL) return baseline_fail(error, "topic %s: %s", name, rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_topic_destroy(producer->topic);
        producer->topic = topic;
    }
    while (1) {
        rd_kafka_resp_err_t status =
            baseline_event_produce(producer->client, producer->topic, &relay->source, rows, row);
        if (status == RD_KAFKA_RESP_ERR_NO_ERROR) return 0;
        if (status != RD_KAFKA_RESP_ERR__QUEUE_FULL) return baseline_fail(error, "%s", rd_kafka_err2str(status));
        if (baseline_producer_await(producer, producer->reported + 1, error) != 0) return -1;
    }
}

static int publish(struct relay *relay, const PGresult *rows, struct baseline_error error) {
    int count = PQntuples(rows);
    long expected = relay->producer.reported + count;
    for (int row = 0; row < count; row++) {
        if (produce(relay, rows, row, error) != 0) return -1;
    }
    if (baseline_producer_await(&relay->producer, expected, error) != 0) return -1;
    return mark_published(relay, baseline_int8(PQgetvalue(rows, count - 1, EVENT_SEQUENCE)), error);
}

static int run(struct relay *relay, struct baseline_error error, long *events) {
    while (1) {
        PGresult *rows = unpublished(relay, error);
        if (rows == NULL) return -1;
        int count = PQntuples(rows);
        int status = count == 0 ? 0 : publish(relay, rows, error);
        // The values that are under way lie in the rows.
        if (status != 0) baseline_producer_stop(&relay->producer);
        PQclear(rows);
        if (status != 0 || count == 0) return status;
        *events += count;
    }
}

static int set_up(struct relay *relay, const char *servers, const char *topic, struct baseline_error error) {
    const Oid numbers[] = {bigint, bigint, bigint}, mark[] = {bigint, text};
    if (read_head(relay, error) != 0) return -1;
    if (prepare(relay->connection, "unpublished",
                "SELECT " BASELINE_EVENT_COLUMNS " FROM outbox WHERE epoch = $1 AND sequence > $2 "
                "ORDER BY epoch, sequence LIMIT $3", numbers, 3, error) != 0) {
        return -1;
    }
    if (prepare(relay->connection, "mark",
                "UPDATE outbox_head SET published_through = $1 WHERE source = $2 AND published_through < $1", mark, 2,
                error) != 0) {
        return -1;
    }
    return baseline_producer_start(&relay->producer, servers, topic, error);
}

int lantern_c_relay(
    const char *conninfo, const char *source, const char *servers, const char *topic, long limit, char *error,
    size_t error_size, double *seconds, long *events
) {
    struct baseline_error failure = {error, error_size};
    struct relay relay = {.source = {.name = source}, .limit = limit};
    *events = 0;
    relay.connection = baseline_connect(conninfo, failure);
    if (relay.connection == NULL) return -1;
    int status = set_up(&relay, servers, topic, failure);
    if (status == 0) {
        double start = baseline_now();
        status = run(&relay, failure, events);
        *seconds = baseline_now() - start;
        baseline_producer_stop(&relay.producer);
    }
    PQfinish(relay.connection);
    return status;
}
