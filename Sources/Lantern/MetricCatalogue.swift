public import LanternMetrics

/// Every metric of the platform, declared once: `docs/metrics.md` is generated from here.
public enum MetricCatalogue {
    public static let declarations: [MetricDeclaration] = [
        MetricDeclaration(
            "http_server_request_duration_seconds", .histogram,
            "Duration of HTTP server requests, until the body is written.",
            labels: ["http_request_method", "url_scheme", "http_route", "http_response_status_code", "error_type"],
            isNative: true
        ),
        MetricDeclaration("http_server_active_requests", .gauge, "HTTP requests that are being handled."),
        MetricDeclaration(
            "http_client_request_duration_seconds", .histogram, "Duration of HTTP requests that this service made.",
            labels: ["http_request_method", "server_address", "http_response_status_code", "error_type"]
        ),
        MetricDeclaration(
            "db_client_operation_duration_seconds", .histogram, "Duration of database statements.",
            labels: ["db_system_name", "db_operation_name", "db_collection_name", "error_type"],
            buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration(
            "db_client_connections", .gauge, "Connections of a pool by state.",
            labels: ["db_client_connection_state", "db_client_connection_pool_name"]
        ),
        MetricDeclaration(
            "db_client_connection_wait_time_seconds", .histogram, "Time that a task waited for a connection.",
            labels: ["db_client_connection_pool_name"], buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration(
            "messaging_client_sent_messages_total", .counter, "Records sent to Kafka and acknowledged, or failed.",
            labels: ["messaging_system", "messaging_operation_name", "messaging_destination_name", "error_type"]
        ),
        MetricDeclaration(
            "messaging_client_consumed_messages_total", .counter, "Records read from Kafka.",
            labels: [
                "messaging_system", "messaging_operation_name", "messaging_destination_name",
                "messaging_consumer_group_name",
            ]
        ),
        MetricDeclaration(
            "messaging_client_operation_duration_seconds", .histogram, "Duration of Kafka client operations.",
            labels: ["messaging_system", "messaging_operation_name", "messaging_destination_name", "error_type"],
            buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration(
            "messaging_process_duration_seconds", .histogram, "Duration of handling one record.",
            labels: ["messaging_system", "messaging_destination_name", "messaging_consumer_group_name"],
            buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration(
            "messaging_kafka_consumer_lag", .gauge, "Records of a partition that the group has not read.",
            labels: [
                "messaging_destination_name", "messaging_destination_partition_id", "messaging_consumer_group_name",
            ]
        ),
        MetricDeclaration(
            "lantern_kafka_rebalances_total", .counter,
            "Times that partitions were assigned to this member of a group.",
            labels: ["messaging_consumer_group_name"]
        ),
        MetricDeclaration(
            "lantern_kafka_producer_queue_messages", .gauge, "Records that wait in the producer's queue.",
            labels: ["messaging_client_id"]
        ),
        MetricDeclaration(
            "lantern_kafka_producer_queue_bytes", .gauge, "Size of the records that wait in the producer's queue.",
            labels: ["messaging_client_id"]
        ),
        MetricDeclaration("lantern_outbox_pending", .gauge, "Events that are committed and not yet published."),
        MetricDeclaration("lantern_outbox_oldest_age_seconds", .gauge, "Age of the oldest event not yet published."),
        MetricDeclaration("lantern_outbox_bytes", .gauge, "Size of the outbox with its indexes."),
        MetricDeclaration(
            "lantern_outbox_replayed_total", .counter, "Events that were sent again because they were asked for."
        ),
        MetricDeclaration(
            "lantern_replay_requested_events_total", .counter, "Missing events that sources were asked for."
        ),
        MetricDeclaration(
            "lantern_event_visible_seconds", .histogram, "Time from the append of an event to its log index.",
            labels: ["source"],
            buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3_600], isNative: true
        ),
        MetricDeclaration(
            "lantern_source_gap_events", .gauge,
            "Events of a source that are missing although every partition has passed a head beyond them.",
            labels: ["source"]
        ),
        MetricDeclaration(
            "lantern_duplicates_total", .counter, "Events that came again and were dropped.", labels: ["source"]
        ),
        MetricDeclaration(
            "lantern_consumer_skipped_offsets_total", .counter,
            "Offsets that a consumer had not read and the brokers did not have any more.",
            labels: ["messaging_destination_name", "messaging_consumer_group_name"]
        ),
        MetricDeclaration(
            "lantern_dead_letters_total", .counter, "Records put aside, by reason.", labels: ["reason"]
        ),
        MetricDeclaration("lantern_log_size", .gauge, "Entries of the timeline that have a log index."),
        MetricDeclaration(
            "lantern_event_loop_lag_seconds", .histogram, "Time that work waited for an event loop, asked each second.",
            buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration(
            "lantern_executor_delay_seconds", .histogram,
            "Time that a task waited for a thread of Swift's executor, asked each second.",
            buckets: MetricDeclaration.shortBuckets
        ),
        MetricDeclaration("lantern_log_dropped_total", .counter, "Log lines that could not be written."),
        MetricDeclaration("lantern_spans_dropped_total", .counter, "Spans that were dropped before export."),
        MetricDeclaration(
            "lantern_span_export_duration_seconds", .histogram, "Time of an attempt to send spans to the collector."
        ),
        MetricDeclaration(
            "lantern_span_export_failures_total", .counter, "Attempts to send spans that the collector did not take."
        ),
        MetricDeclaration("lantern_spans_queued", .gauge, "Spans that wait for export, or are being sent."),
        MetricDeclaration("lantern_spans_exported_total", .counter, "Spans that a collector has taken."),
    ]
}
