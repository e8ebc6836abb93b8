#include "events_baseline.h"
#include "producer.h"
#include <stdlib.h>
#include <string.h>

static int run(
    struct baseline_producer *producer, char *value, size_t size, long count, long in_flight,
    struct baseline_error error
) {
    for (long sent = 0; sent < count; sent++) {
        // At most `in_flight - 1` without a report, so that this one may go.
        if (baseline_producer_await(producer, sent - in_flight + 1, error) != 0) return -1;
        // No copy: the value outlives the producer.
        while (rd_kafka_produce(producer->topic, RD_KAFKA_PARTITION_UA, 0, value, size, NULL, 0, NULL) != 0) {
            rd_kafka_resp_err_t status = rd_kafka_last_error();
            if (status != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                return baseline_fail(error, "record %ld: %s", sent, rd_kafka_err2str(status));
            }
            if (baseline_producer_await(producer, producer->reported + 1, error) != 0) return -1;
        }
    }
    return baseline_producer_await(producer, count, error);
}

int lantern_c_produce_window(
    const char *servers, const char *topic, long count, size_t size, long in_flight, char *error, size_t error_size,
    double *seconds
) {
    struct baseline_error failure = {error, error_size};
    if (in_flight < 1) return baseline_fail(failure, "in_flight is %ld", in_flight);
    char *value = malloc(size + 1);
    if (value == NULL) return baseline_fail(failure, "no memory for %zu bytes", size);
    memset(value, 'x', size + 1);
    struct baseline_producer producer;
    int status = baseline_producer_start(&producer, servers, topic, failure);
    if (status == 0) {
        double start = baseline_now();
        status = run(&producer, value, size, count, in_flight, failure);
        *seconds = baseline_now() - start;
        baseline_producer_stop(&producer);
    }
    free(value);
    return status;
}

int lantern_c_produce_sequential(
    const char *servers, const char *topic, long count, size_t size, char *error, size_t error_size, double *seconds
) {
    return lantern_c_produce_window(servers, topic, count, size, 1, error, error_size, seconds);
}
