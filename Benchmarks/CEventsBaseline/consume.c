#include "client.h"
#include "events_baseline.h"
#include <stdlib.h>

/// Nobody sends while we read: what does not come within this does not exist.
static const double patience = 10;

/// Keeps the reading of values from being left out by the compiler.
static volatile unsigned long sink;

static void touch(const rd_kafka_message_t *message) {
    const unsigned char *value = message->payload;
    unsigned long sum = 0;
    for (size_t index = 0; index < message->len; index++) sum += value[index];
    sink = sum;
}

/// Assigns all partitions from their beginning.
static int assign(rd_kafka_t *client, const char *name, struct baseline_error error) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, name, NULL);
    if (topic == NULL) return baseline_fail(error, "topic %s: %s", name, rd_kafka_err2str(rd_kafka_last_error()));
    int count = baseline_partitions(client, topic, error);
    rd_kafka_topic_destroy(topic);
    if (count < 0) return -1;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int partition = 0; partition < count; partition++) {
        rd_kafka_topic_partition_list_add(list, name, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    rd_kafka_resp_err_t status = rd_kafka_assign(client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return status == RD_KAFKA_RESP_ERR_NO_ERROR ? 0 : baseline_fail(error, "assign: %s", rd_kafka_err2str(status));
}

static rd_kafka_t *consumer(const char *servers, const char *topic, struct baseline_error error) {
    static const struct baseline_property properties[] = {
        // rd_kafka_assign wants a name. The group is never joined, because nothing is subscribed.
        {"group.id", "lantern-baseline"},
        {"enable.auto.commit", "false"},
        {"enable.auto.offset.store", "false"},
        {"auto.offset.reset", "earliest"},
        {"fetch.wait.max.ms", "10"},
        {"fetch.message.max.bytes", "1048576"},
        // Beyond any benchmark: librdkafka before 2.2 rests for a whole second when its queue is full to one of these.
        {"queued.min.messages", "10000000"},
        {"queued.max.messages.kbytes", "2097151"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *configuration = baseline_configuration(servers, properties, error);
    rd_kafka_t *client = configuration == NULL ? NULL : baseline_client(RD_KAFKA_CONSUMER, configuration, error);
    if (client == NULL) return NULL;
    rd_kafka_poll_set_consumer(client);
    if (assign(client, topic, error) == 0) return client;
    rd_kafka_destroy(client);
    return NULL;
}

static void stop(rd_kafka_t *client) {
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

/// Reads a message and frees it. Answers 1 for a record, 0 for what may pass by itself, -1 for what does not.
static int take(rd_kafka_message_t *message, struct baseline_error error) {
    int taken = 1;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        touch(message);
    } else if (message->err == RD_KAFKA_RESP_ERR__TRANSPORT || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        taken = 0;
    } else {
        taken = baseline_fail(error, "consume: %s", rd_kafka_message_errstr(message));
    }
    rd_kafka_message_destroy(message);
    return taken;
}

static int run_batches(
    rd_kafka_queue_t *queue, rd_kafka_message_t **messages, size_t batch, long count, struct baseline_error error,
    double *seconds
) {
    double start = 0, deadline = baseline_now() + patience;
    for (long received = 0; received < count;) {
        // The call waits until it has what it was asked for, so it is not asked for more than there is.
        size_t wanted = (size_t)(count - received) < batch ? (size_t)(count - received) : batch;
        ssize_t got = rd_kafka_consume_batch_queue(queue, 100, messages, wanted);
        if (got < 0) return baseline_fail(error, "consume: %s", rd_kafka_err2str(rd_kafka_last_error()));
        double now = baseline_now();
        if (got == 0 && now > deadline) return baseline_fail(error, "only %ld of %ld records came", received, count);
        if (got > 0) deadline = now + patience;
        if (got > 0 && received == 0 && start == 0) start = now;
        int failed = 0;
        for (ssize_t index = 0; index < got; index++) {
            int taken = take(messages[index], error);
            if (taken < 0) failed = 1;
            if (taken > 0) received++;
        }
        if (failed) return -1;
    }
    *seconds = baseline_now() - start;
    return 0;
}

int lantern_c_consume(
    const char *servers, const char *topic, long count, size_t batch, char *error, size_t error_size, double *seconds
) {
    struct baseline_error failure = {error, error_size};
    if (count < 1 || batch < 1) return baseline_fail(failure, "nothing to read");
    rd_kafka_message_t **messages = calloc(batch, sizeof *messages);
    if (messages == NULL) return baseline_fail(failure, "no memory for a batch of %zu", batch);
    int status = -1;
    rd_kafka_t *client = consumer(servers, topic, failure);
    if (client != NULL) {
        rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(client);
        status = run_batches(queue, messages, batch, count, failure, seconds);
        rd_kafka_queue_destroy(queue);
        stop(client);
    }
    free(messages);
    return status;
}

int lantern_c_consume_poll(
    const char *servers, const char *topic, long count, char *error, size_t error_size, double *seconds
) {
    struct baseline_error failure = {error, error_size};
    if (count < 1) return baseline_fail(failure, "nothing to read");
    rd_kafka_t *client = consumer(servers, topic, failure);
    if (client == NULL) return -1;
    int status = 0;
    double start = 0, deadline = baseline_now() + patience;
    for (long received = 0; status == 0 && received < count;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
        // The clock is only looked at where there is nothing else to do.
        if (message == NULL) {
            if (baseline_now() > deadline) {
                status = baseline_fail(failure, "only %ld of %ld records came", received, count);
            }
            continue;
        }
        if (received == 0) start = baseline_now();
        int taken = take(message, failure);
        if (taken < 0) status = -1;
        if (taken > 0) received++;
        if (taken > 0 && received % 4096 == 0) deadline = baseline_now() + patience;
    }
    *seconds = baseline_now() - start;
    stop(client);
    return status;
}
