#include "event_record.h"
#include "event_text.h"
#include <string.h>

/// Topic, key, value and 22 headers.
struct arguments {
    rd_kafka_vu_t values[25];
    size_t count;
};

static rd_kafka_vu_t *next(struct arguments *arguments, rd_kafka_vtype_t type) {
    rd_kafka_vu_t *value = &arguments->values[arguments->count++];
    value->vtype = type;
    return value;
}

static void header(struct arguments *arguments, const char *name, const char *text, size_t length) {
    rd_kafka_vu_t *value = next(arguments, RD_KAFKA_VTYPE_HEADER);
    value->u.header.name = name;
    value->u.header.val = text;
    value->u.header.size = (ssize_t)length;
}

rd_kafka_resp_err_t baseline_event_produce(
    rd_kafka_t *client, rd_kafka_topic_t *topic, const struct baseline_event_source *source, const PGresult *rows,
    int row
) {
    struct arguments arguments;
    arguments.count = 0;
    char id[BASELINE_UUID], time[BASELINE_TIME];
    char epoch[BASELINE_NUMBER], sequence[BASELINE_NUMBER], version[BASELINE_NUMBER];

    next(&arguments, RD_KAFKA_VTYPE_RKT)->u.rkt = topic;
    rd_kafka_vu_t *key = next(&arguments, RD_KAFKA_VTYPE_KEY);
    key->u.mem.ptr = PQgetvalue(rows, row, EVENT_KEY);
    key->u.mem.size = (size_t)PQgetlength(rows, row, EVENT_KEY);
    rd_kafka_vu_t *value = next(&arguments, RD_KAFKA_VTYPE_VALUE);
    value->u.mem.ptr = PQgetvalue(rows, row, EVENT_DATA);
    value->u.mem.size = (size_t)PQgetlength(rows, row, EVENT_DATA);

#define BYTES(column) PQgetvalue(rows, row, column)
#define NUMBER(column) baseline_int8(BYTES(column))
#define TEXT(name, column)                                                                                           \
    if (!PQgetisnull(rows, row, column)) {                                                                           \
        header(&arguments, name, BYTES(column), (size_t)PQgetlength(rows, row, column));                             \
    }
    header(&arguments, "ce_specversion", "1.0", 3);
    header(&arguments, "ce_id", id, baseline_uuid(BYTES(EVENT_ID), id));
    header(&arguments, "ce_source", source->name, strlen(source->name));
    TEXT("ce_type", EVENT_TYPE)
    header(&arguments, "ce_time", time, baseline_time(NUMBER(EVENT_TIME), time));
    TEXT("ce_subject", EVENT_SUBJECT)
    TEXT("ce_dataschema", EVENT_DATA_SCHEMA)
    TEXT("content-type", EVENT_CONTENT_TYPE)
    header(&arguments, "ce_sourceepoch", epoch, baseline_number(source->epoch, epoch));
    header(&arguments, "ce_sequence", sequence, baseline_sequence(NUMBER(EVENT_SEQUENCE), sequence));
    header(&arguments, "ce_subjectversion", version, baseline_number(NUMBER(EVENT_SUBJECT_VERSION), version));
    TEXT("ce_partitionkey", EVENT_KEY)
    TEXT("ce_tenant", EVENT_TENANT)
    TEXT("ce_actorid", EVENT_ACTOR_ID)
    TEXT("ce_actortype", EVENT_ACTOR_TYPE)
    TEXT("ce_actorip", EVENT_ACTOR_IP)
    TEXT("ce_outcome", EVENT_OUTCOME)
    TEXT("ce_traceparent", EVENT_TRACEPARENT)
    TEXT("ce_tracestate", EVENT_TRACESTATE)
    TEXT("traceparent", EVENT_TRACEPARENT)
    TEXT("tracestate", EVENT_TRACESTATE)
    TEXT("baggage", EVENT_BAGGAGE)
#undef TEXT
#undef NUMBER
#undef BYTES

    rd_kafka_error_t *failure = rd_kafka_produceva(client, arguments.values, arguments.count);
    if (failure == NULL) return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(failure);
    rd_kafka_error_destroy(failure);
    return code;
}
