#include "client.h"

rd_kafka_conf_t *baseline_configuration(
    const char *servers, const struct baseline_property properties[], struct baseline_error error
) {
    rd_kafka_conf_t *configuration = rd_kafka_conf_new();
    char reason[256];
    if (rd_kafka_conf_set(configuration, "bootstrap.servers", servers, reason, sizeof reason) != RD_KAFKA_CONF_OK) {
        goto refused;
    }
    for (const struct baseline_property *property = properties; property->name != NULL; property++) {
        if (rd_kafka_conf_set(configuration, property->name, property->value, reason, sizeof reason)
            != RD_KAFKA_CONF_OK) {
            goto refused;
        }
    }
    // What goes wrong is told by the results of the calls.
    rd_kafka_conf_set_log_cb(configuration, NULL);
    return configuration;

refused:
    rd_kafka_conf_destroy(configuration);
    baseline_fail(error, "%s", reason);
    return NULL;
}

rd_kafka_t *baseline_client(rd_kafka_type_t type, rd_kafka_conf_t *configuration, struct baseline_error error) {
    char reason[256];
    rd_kafka_t *client = rd_kafka_new(type, configuration, reason, sizeof reason);
    if (client != NULL) return client;
    rd_kafka_conf_destroy(configuration);
    baseline_fail(error, "%s", reason);
    return NULL;
}

int baseline_partitions(rd_kafka_t *client, rd_kafka_topic_t *topic, struct baseline_error error) {
    // A topic that the broker is just making has no partitions at first.
    double end = baseline_now() + 10;
    rd_kafka_resp_err_t status;
    do {
        const struct rd_kafka_metadata *metadata = NULL;
        int count = 0;
        status = rd_kafka_metadata(client, 0, topic, &metadata, 10000);
        if (status == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topic_cnt == 1) {
            status = metadata->topics[0].err;
            count = metadata->topics[0].partition_cnt;
        }
        if (metadata != NULL) rd_kafka_metadata_destroy(metadata);
        if (status == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0) return count;
    } while (baseline_now() < end);
    return baseline_fail(error, "topic %s: %s", rd_kafka_topic_name(topic), rd_kafka_err2str(status));
}
