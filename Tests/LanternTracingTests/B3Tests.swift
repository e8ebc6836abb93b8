import Testing
import Tracing

@testable import LanternTracing

private let trace = "80f198ee56343ba864fe8b2a57d3eff7"
private let shortTrace = "a3ce929d0e0e4736"
private let span = "e457b5a2e4d86bd1"
private let parent = "05e3ac9a4f6e3b90"

/// What the sampler's root would decide, and what is then recorded, where the headers leave it open.
private enum Decision: Sendable { case sampled, refused, open }

/// A tracer that speaks some formats, and what a request's headers make of its spans.
private struct Peer {
    let propagation: Propagation
    private let processor = InMemorySpanProcessor()

    init(_ formats: Propagation.Format...) { self.propagation = Propagation(formats) }

    private func tracer(root: Sampler) -> LanternTracer {
        LanternTracer(sampler: .parentBased(root: root), processor: self.processor, propagation: self.propagation)
    }

    func extract(_ headers: [String: String]) -> InstrumentationContext {
        var context = InstrumentationContext.topLevel
        self.tracer(root: .alwaysOn).extract(headers, into: &context, using: DictionaryCarrier())
        return context
    }

    func inject(_ context: InstrumentationContext) -> [String: String] {
        var headers: [String: String] = [:]
        self.tracer(root: .alwaysOn).inject(context, into: &headers, using: DictionaryCarrier())
        return headers
    }

    /// Whether a span of a request with these headers is recorded.
    func records(_ headers: [String: String], root: Sampler) -> Bool {
        let span = self.tracer(root: root).startSpan("server", context: self.extract(headers), ofKind: .server)
        defer { span.end() }
        return span.isRecording
    }

    func expect(_ headers: [String: String], _ decision: Decision) {
        let records = (on: self.records(headers, root: .alwaysOn), off: self.records(headers, root: .alwaysOff))
        #expect(records.on == (decision != .refused), "with a root that is always on")
        #expect(records.off == (decision == .sampled), "with a root that is always off")
    }
}

@Suite("B3 in one header (openzipkin/b3-propagation)")
struct B3SingleTests {
    fileprivate static let validTable: [(header: String, trace: String, decision: Decision)] = [
        ("\(trace)-\(span)", trace, .open),
        ("\(trace)-\(span)-1", trace, .sampled),
        ("\(trace)-\(span)-0", trace, .refused),
        ("\(trace)-\(span)-d", trace, .sampled),
        ("\(trace)-\(span)-1-\(parent)", trace, .sampled),
        ("\(trace)-\(span)-0-\(parent)", trace, .refused),
        ("\(shortTrace)-\(span)", "0000000000000000\(shortTrace)", .open),
        ("\(shortTrace)-\(span)-1-\(parent)", "0000000000000000\(shortTrace)", .sampled),
        ("\(shortTrace)-\(span)-0", "0000000000000000\(shortTrace)", .refused),
        ("0000000000000000\(shortTrace)-\(span)-1", "0000000000000000\(shortTrace)", .sampled),
    ]

    @Test("a valid one names a span, and says whether it is sampled or leaves it open", arguments: validTable)
    fileprivate func valid(header: String, trace: String, decision: Decision) throws {
        let peer = Peer(.b3)
        let context = try #require(peer.extract(["b3": header]).spanContext)
        #expect(context.traceID.description == trace)
        #expect(context.spanID.description == span)
        #expect(context.isSampled == (decision == .sampled))
        #expect(context.isRemote)
        #expect(context.traceState.isEmpty)
        peer.expect(["b3": header], decision)
    }

    static let malformedTable: [String] = [
        "", "-", "--", "0", "1", "d", trace, span, "\(trace)-", "-\(span)", "\(trace)-\(span)-", "\(trace)--1",
        // Lengths.
        "\(trace.dropLast())-\(span)-1", "\(trace)0-\(span)-1", "\(shortTrace.dropLast())-\(span)-1",
        "\(trace.dropLast(8))-\(span)-1", "\(trace)-\(span.dropLast())-1", "\(trace)-\(span)0-1", "\(trace)-\(trace)-1",
        // Digits are lower-case hexadecimal.
        "\(trace.uppercased())-\(span)-1", "\(trace)-\(span.uppercased())-1", "\(shortTrace.uppercased())-\(span)-1",
        "\(trace.dropLast())g-\(span)-1", "\(trace)-+\(span.dropFirst())-1", "0x\(trace.dropLast(2))-\(span)-1",
        "\(trace.dropLast(2))é-\(span)-1", "\(trace) -\(span)-1", " \(trace)-\(span)-1",
        // Ids are not zero.
        "00000000000000000000000000000000-\(span)-1", "0000000000000000-\(span)-1", "\(trace)-0000000000000000-1",
        // Sampling states that are none.
        "\(trace)-\(span)-2", "\(trace)-\(span)-D", "\(trace)-\(span)-11", "\(trace)-\(span)-yes",
        "\(trace)-\(span)- 1",
        // Parents that are none, and what comes behind one.
        "\(trace)-\(span)-1-", "\(trace)-\(span)-1-\(parent.dropLast())", "\(trace)-\(span)-1-\(parent)0",
        "\(trace)-\(span)-1-\(parent.uppercased())", "\(trace)-\(span)-1-\(parent)-1", "\(trace)-\(span)-1-\(parent)-",
        // Others' formats, and two headers as HTTP joins them.
        "00-\(trace)-\(span)-01", "\(trace)-\(span)-1, \(trace)-\(span)-1", "\(trace)/\(span);o=1",
    ]

    @Test("a malformed one is none: a new trace begins", arguments: B3SingleTests.malformedTable)
    func malformed(header: String) {
        let peer = Peer(.b3)
        #expect(peer.extract(["b3": header]).spanContext == nil)
        peer.expect(["b3": header], .open)
    }

    @Test("it is written with a trace id of 128 bits, the span's id and the decision", arguments: ["0", "1", "d"])
    func written(state: String) {
        let context = Peer(.b3).extract(["b3": "\(shortTrace)-\(span)-\(state)-\(parent)"])
        let expected = "0000000000000000\(shortTrace)-\(span)-\(state == "0" ? "0" : "1")"
        #expect(Peer(.b3).inject(context) == ["b3": expected])
    }
}

@Suite("B3 in several headers (openzipkin/b3-propagation)")
struct B3MultiTests {
    private static func headers(
        trace: String? = trace, span: String? = span, sampled: String? = nil, flags: String? = nil,
        parent: String? = nil
    ) -> [String: String] {
        let all = [
            "X-B3-TraceId": trace, "X-B3-SpanId": span, "X-B3-Sampled": sampled, "X-B3-Flags": flags,
            "X-B3-ParentSpanId": parent,
        ]
        return all.compactMapValues { $0 }
    }

    fileprivate static let validTable: [(headers: [String: String], decision: Decision)] = [
        (headers(), .open),
        (headers(sampled: "1"), .sampled),
        (headers(sampled: "0"), .refused),
        // What tracers wrote before the specification was.
        (headers(sampled: "true"), .sampled),
        (headers(sampled: "false"), .refused),
        (headers(sampled: "1", parent: parent), .sampled),
        // Debug is a decision to sample; it is 1 or nothing.
        (headers(flags: "1"), .sampled),
        (headers(sampled: "0", flags: "1"), .sampled),
        (headers(flags: "0"), .open),
        (headers(sampled: "0", flags: "0"), .refused),
        (headers(sampled: "1", flags: "0"), .sampled),
    ]

    @Test("valid ones name a span, and say whether it is sampled or leave it open", arguments: validTable)
    fileprivate func valid(headers: [String: String], decision: Decision) throws {
        let peer = Peer(.b3multi)
        let context = try #require(peer.extract(headers).spanContext)
        #expect(context.traceID.description == trace)
        #expect(context.spanID.description == span)
        #expect(context.isSampled == (decision == .sampled))
        #expect(context.isRemote)
        peer.expect(headers, decision)
    }

    @Test("a trace id of 64 bits is one of 128 with zeros in front")
    func shortID() {
        let context = Peer(.b3multi).extract(Self.headers(trace: shortTrace, sampled: "1")).spanContext
        #expect(context?.traceID.description == "0000000000000000\(shortTrace)")
    }

    static let malformedTable: [[String: String]] = [
        headers(trace: nil, sampled: "1"),
        headers(span: nil, sampled: "1"),
        headers(trace: nil, span: nil, sampled: "1", flags: "1"),
        headers(trace: "", sampled: "1"),
        headers(span: "", sampled: "1"),
        headers(trace: String(trace.dropLast()), sampled: "1"),
        headers(trace: trace + "0", sampled: "1"),
        headers(span: String(span.dropLast()), sampled: "1"),
        headers(span: trace, sampled: "1"),
        headers(trace: trace.uppercased(), sampled: "1"),
        headers(span: span.uppercased(), sampled: "1"),
        headers(trace: String(repeating: "0", count: 32), sampled: "1"),
        headers(trace: String(repeating: "0", count: 16), sampled: "1"),
        headers(span: String(repeating: "0", count: 16), sampled: "1"),
        headers(trace: "not an id of a trace, but as long", sampled: "1"),
        headers(sampled: "2"),
        headers(sampled: "True"),
        headers(sampled: ""),
    ]

    @Test("malformed ones are none: a new trace begins", arguments: B3MultiTests.malformedTable)
    func malformed(headers: [String: String]) {
        let peer = Peer(.b3multi)
        #expect(peer.extract(headers).spanContext == nil)
        peer.expect(headers, .open)
    }

    @Test("they are written with a trace id of 128 bits, the span's id and the decision", arguments: ["0", "1"])
    func written(sampled: String) {
        let context = Peer(.b3multi).extract(Self.headers(trace: shortTrace, sampled: sampled, parent: parent))
        let expected = Self.headers(trace: "0000000000000000\(shortTrace)", sampled: sampled)
        #expect(Peer(.b3multi).inject(context) == expected)
    }
}

@Suite("Formats of propagation")
struct PropagationFormatTests {
    private static let all: [String: String] = [
        "traceparent": "00-11111111111111111111111111111111-\(span)-01",
        "b3": "22222222222222222222222222222222-\(span)-1",
        "X-B3-TraceId": "33333333333333333333333333333333", "X-B3-SpanId": span, "X-B3-Sampled": "1",
    ]

    /// The digit that a request's trace id is made of; `nil` where there is none.
    private func digit(_ headers: [String: String], _ formats: [Propagation.Format]) -> Character? {
        var context = InstrumentationContext.topLevel
        Propagation(formats).extract(headers, into: &context, using: DictionaryCarrier())
        return context.spanContext?.traceID.description.first
    }

    static let orderTable: [([Propagation.Format], Character)] = [
        ([.traceContext, .b3, .b3multi], "1"), ([.traceContext, .b3multi, .b3], "1"),
        ([.b3, .traceContext, .b3multi], "2"), ([.b3, .b3multi, .traceContext], "2"),
        ([.b3multi, .traceContext, .b3], "3"), ([.b3multi, .b3, .traceContext], "3"),
        ([.baggage, .b3], "2"), ([.b3multi, .baggage], "3"),
    ]

    @Test("of several formats the first that names a span counts", arguments: PropagationFormatTests.orderTable)
    func first(formats: [Propagation.Format], expected: Character) {
        #expect(self.digit(Self.all, formats) == expected)
    }

    @Test("one that is absent or malformed leaves it to the next")
    func next() {
        let formats: [Propagation.Format] = [.traceContext, .b3, .b3multi]
        var headers = Self.all
        headers["traceparent"] = "00-nonsense-01"
        #expect(self.digit(headers, formats) == "2")
        headers["traceparent"] = nil
        headers["b3"] = "0"
        #expect(self.digit(headers, formats) == "3")
        headers["X-B3-SpanId"] = nil
        #expect(self.digit(headers, formats) == nil)
    }

    @Test("every configured format is sent, and no other")
    func sent() throws {
        let context = Peer(.b3).extract(["b3": "\(trace)-\(span)-1"])
        #expect(Peer(.traceContext).inject(context) == ["traceparent": "00-\(trace)-\(span)-01"])
        #expect(
            Peer(.traceContext, .baggage, .b3, .b3multi).inject(context) == [
                "traceparent": "00-\(trace)-\(span)-01", "b3": "\(trace)-\(span)-1", "X-B3-TraceId": trace,
                "X-B3-SpanId": span, "X-B3-Sampled": "1",
            ])
    }

    @Test("without a format nothing is read and nothing is sent")
    func none() {
        var headers = Self.all
        headers["baggage"] = "user=ada"
        let context = Peer().extract(headers)
        #expect(context.isEmpty)
        let span = LanternTracer(sampler: .alwaysOn, processor: DiscardingSpanProcessor())
            .startSpan("work", context: .topLevel)
        #expect(Peer().inject(span.context).isEmpty)
    }
}
