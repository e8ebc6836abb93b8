#ifndef BASELINE_CLIENT_H
#define BASELINE_CLIENT_H
#include "outcome.h"
#include <librdkafka/rdkafka.h>

struct baseline_property {
    const char *name;
    const char *value;
};

/// A configuration with these properties, which end with an empty one. NULL with a text in `error`.
rd_kafka_conf_t *baseline_configuration(
    const char *servers, const struct baseline_property properties[], struct baseline_error error
);

/// A client; takes the configuration. NULL with a text in `error`.
rd_kafka_t *baseline_client(rd_kafka_type_t type, rd_kafka_conf_t *configuration, struct baseline_error error);

/// Waits until the topic and its leaders are known; answers the number of its partitions, or -1.
int baseline_partitions(rd_kafka_t *client, rd_kafka_topic_t *topic, struct baseline_error error);
#endif
