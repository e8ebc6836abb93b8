#include "producer.h"
#include "client.h"
#include <string.h>

static void report(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque) {
    (void)client;
    struct baseline_producer *producer = opaque;
    producer->reported++;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && producer->failure == RD_KAFKA_RESP_ERR_NO_ERROR) {
        producer->failure = message->err;
    }
}

static int warm_up(struct baseline_producer *producer, struct baseline_error error) {
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer->client, "lantern-baseline-warm-up", NULL);
    if (topic == NULL) return baseline_fail(error, "warm-up: %s", rd_kafka_err2str(rd_kafka_last_error()));
    static char value[] = "warm-up";
    int status = rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, 0, value, sizeof value - 1, NULL, 0, NULL);
    status = status != 0 ? baseline_fail(error, "warm-up: %s", rd_kafka_err2str(rd_kafka_last_error()))
                         : baseline_producer_await(producer, 1, error);
    rd_kafka_topic_destroy(topic);
    producer->reported = 0;
    return status;
}

int baseline_producer_start(
    struct baseline_producer *producer, const char *servers, const char *topic, struct baseline_error error
) {
    static const struct baseline_property properties[] = {
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"linger.ms", "0"},
        {"partitioner", "murmur2_random"},
        // A failure ends the measurement rather than to be tried for ever.
        {"message.timeout.ms", "30000"},
        {"queue.buffering.max.messages", "100000"},
        {"statistics.interval.ms", "0"},
        {NULL, NULL},
    };
    memset(producer, 0, sizeof *producer);
    rd_kafka_conf_t *configuration = baseline_configuration(servers, properties, error);
    if (configuration == NULL) return -1;
    rd_kafka_conf_set_dr_msg_cb(configuration, report);
    rd_kafka_conf_set_opaque(configuration, producer);
    producer->client = baseline_client(RD_KAFKA_PRODUCER, configuration, error);
    if (producer->client == NULL) return -1;
    producer->topic = rd_kafka_topic_new(producer->client, topic, NULL);
    if (producer->topic == NULL) {
        baseline_fail(error, "topic %s: %s", topic, rd_kafka_err2str(rd_kafka_last_error()));
    } else if (warm_up(producer, error) == 0
               && baseline_partitions(producer->client, producer->topic, error) > 0) {
        return 0;
    }
    baseline_producer_stop(producer);
    return -1;
}

int baseline_producer_await(struct baseline_producer *producer, long reported, struct baseline_error error) {
    while (producer->reported < reported) {
        rd_kafka_poll(producer->client, 1000);
        if (producer->failure == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
        char fatal[256];
        // With an idempotent producer a fatal error hides behind each record's own.
        return rd_kafka_fatal_error(producer->client, fatal, sizeof fatal) != RD_KAFKA_RESP_ERR_NO_ERROR
            ? baseline_fail(error, "%s", fatal)
            : baseline_fail(error, "a record was not delivered: %s", rd_kafka_err2str(producer->failure));
    }
    return 0;
}

void baseline_producer_stop(struct baseline_producer *producer) {
    if (producer->client == NULL) return;
    rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    if (producer->topic != NULL) rd_kafka_topic_destroy(producer->topic);
    rd_kafka_destroy(producer->client);
    producer->client = NULL;
}
