import LanternKafka
import LanternTracing
import LanternTracingTesting
import Testing
import Tracing

@Suite("The span of a record's handling")
struct ProcessingTraceTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let sender = "00f067aa0ba902b7"

    private struct Failure: Error {}

    private func record(_ traceparent: String?) -> KafkaRecord {
        KafkaRecord(
            topic: "t", partition: 2, value: [],
            headers: traceparent.map { [KafkaHeader("traceparent", $0)] } ?? []
        )
    }

    /// The span that handling the record leaves.
    private func span(
        _ relation: KafkaProcessing.TraceRelation, _ record: KafkaRecord, failing: Bool = false
    ) async throws -> FinishedSpan {
        let spans = await CollectedSpans.during {
            try? await KafkaProcessing.process(record, group: "g", relation: relation) {
                if failing { throw Failure() }
            }
        }
        #expect(spans.spans.count == 1)
        return try #require(spans.spans.first)
    }

    @Test("is in the sender's trace, or links to it, or both", arguments: KafkaProcessing.TraceRelation.allCases)
    func relation(_ relation: KafkaProcessing.TraceRelation) async throws {
        let span = try await self.span(relation, self.record("00-\(Self.trace)-\(Self.sender)-01"))
        #expect(span.name == "process t")
        #expect(span.kind == .consumer)
        #expect((span.context.traceID.description == Self.trace) == (relation != .link))
        #expect(span.parent?.spanID.description == (relation == .link ? nil : Self.sender))
        #expect(span.linkedContexts.map(\.spanID.description) == (relation == .child ? [] : [Self.sender]))
        #expect(span.linkedContexts.allSatisfy { $0.traceID.description == Self.trace })
        #expect(span.attributes.get("messaging.consumer.group.name") == SpanAttribute.string("g"))
        #expect(span.attributes.get("messaging.destination.partition.id") == SpanAttribute.string("2"))
        #expect(span.status?.code != .error)
    }

    @Test("has nothing to link to where nobody sent a trace", arguments: KafkaProcessing.TraceRelation.allCases)
    func alone(_ relation: KafkaProcessing.TraceRelation) async throws {
        let span = try await self.span(relation, self.record(nil))
        #expect(span.parent == nil)
        #expect(span.linkedContexts.isEmpty)
    }

    @Test("says that the handling failed", arguments: KafkaProcessing.TraceRelation.allCases)
    func failed(_ relation: KafkaProcessing.TraceRelation) async throws {
        let span = try await self.span(relation, self.record("00-\(Self.trace)-\(Self.sender)-01"), failing: true)
        #expect(span.status?.code == .error)
    }
}
