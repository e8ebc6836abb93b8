import Foundation
import SwiftProtobuf
import Testing
import Tracing

@testable import LanternTracing

/// How long, and from which seed: `LANTERN_FUZZ_ROUNDS`, `LANTERN_FUZZ_SEED`.
private enum Fuzz {
    static let seed = number("LANTERN_FUZZ_SEED") ?? 20_261_121
    static let rounds = Int(clamping: number("LANTERN_FUZZ_ROUNDS") ?? 2_000)

    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }
}

/// Makes inputs that are nearly right out of right ones.
private struct Mutator {
    private var generator = SeededGenerator(seed: Fuzz.seed)
    private let originals: [[UInt8]]
    private let words: [[UInt8]]
    private var round = 0

    /// - Parameter words: What means something to the parser, put in anywhere.
    init(_ originals: [[UInt8]], words: [[UInt8]] = []) {
        self.originals = originals
        self.words = words
    }

    init(_ originals: [String], words: [String]) {
        self.init(originals.map { Array($0.utf8) }, words: words.map { Array($0.utf8) })
    }

    /// One in eight is as it was; the others have one to four changes.
    mutating func next() -> [UInt8] {
        defer { self.round += 1 }
        var bytes = self.originals[self.round % self.originals.count]
        if self.round.isMultiple(of: 8) { return bytes }
        for _ in 0..<Int.random(in: 1...4, using: &self.generator) { self.change(&bytes) }
        return bytes
    }

    mutating func nextText() -> String { String(decoding: self.next(), as: UTF8.self) }

    private mutating func change(_ bytes: inout [UInt8]) {
        let place = Int.random(in: 0...bytes.count, using: &self.generator)
        let end = min(bytes.count, place + Int.random(in: 0...8, using: &self.generator))
        let random = UInt8.random(in: .min ... .max, using: &self.generator)
        switch Int.random(in: 0..<7, using: &self.generator) {
        case 0 where place < bytes.count: bytes[place] ^= 1 << (random & 7)
        case 1 where place < bytes.count: bytes[place] = random
        case 2: bytes.removeSubrange(place..<end)
        case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
        case 4: bytes.removeSubrange(place...)
        case 5: bytes.insert(random & 0x7F, at: place)
        default: bytes.insert(contentsOf: self.words.randomElement(using: &self.generator) ?? [random], at: place)
        }
    }
}

@Suite("Parsers, fed with what is nearly right")
struct ParserFuzzTests {
    private static let trace = "0af7651916cd43dd8448eb211c80319c"
    private static let span = "b7ad6b7169203331"
    /// Signs of all grammars, white space that is none, and characters that join what stands before them.
    private static let signs = [
        "-", ",", ", ", ";", "=", "%", "%2C", "%FF", " ", "\t", "\r\n", "0", "f", "F", "\u{0}", "é", "🏮", "\u{301}",
        " \u{301}",
        ",\u{301}", "=\u{301}", ";\u{200D}", "\u{A0}",
    ]

    /// Names the input, and how to see it again.
    private func note(_ input: String) -> Comment { "LANTERN_FUZZ_SEED=\(Fuzz.seed): \(input.debugDescription)" }

    @Test(
        "a traceparent is taken where another reading of the specification takes it, and written again it is the same")
    func traceparent() throws {
        let ids = "(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
        let grammar = try Regex("00-\(ids)|(?!00|ff)[0-9a-f]{2}-\(ids)(?s:-.*)?").matchingSemantics(.unicodeScalar)
        let valid = "00-\(Self.trace)-\(Self.span)-01"
        var mutator = Mutator(
            [valid, "cc-\(Self.trace)-\(Self.span)-03-future", "fe-\(Self.trace)-\(Self.span)-00"],
            words: Self.signs + ["ff", "00-", String(repeating: "0", count: 16)])
        var taken = 0
        for _ in 0..<Fuzz.rounds {
            let text = mutator.nextText()
            let context = TraceContext.parse(traceparent: text)
            #expect(try (context != nil) == (grammar.wholeMatch(in: text) != nil), self.note(text))
            guard let context else { continue }
            taken += 1
            let written = TraceContext.traceparent(context)
            #expect(written.dropFirst(3).prefix(49) == text.dropFirst(3).prefix(49), self.note(text))
            #expect(TraceContext.parse(traceparent: written) == context, self.note(text))
        }
        #expect(taken > 0)
    }

    @Test(
        "a tracestate that is taken is ASCII, has 32 members of different keys at most, and is the same when read again"
    )
    func tracestate() throws {
        let many = (0..<32).map { "k\($0)=v" }.joined(separator: ",")
        var mutator = Mutator(
            ["foo=1", "foo=1 , bar=2,\tbaz=3", "tenant@vendor= a b", many], words: Self.signs + ["a=1,", ",foo=2", "@"])
        var taken = 0
        for _ in 0..<Fuzz.rounds {
            let text = mutator.nextText()
            guard let state = TraceContext.validTraceState(text) else { continue }
            taken += 1
            #expect(text.utf8.allSatisfy { $0 == 0x09 || (0x20...0x7E).contains($0) }, self.note(text))
            let keys = state.utf8.split(separator: UInt8(ascii: ",")).map { $0.prefix { $0 != UInt8(ascii: "=") } }
            #expect(keys.count <= 32, self.note(text))
            #expect(Set(keys.map { Array($0) }).count == keys.count, self.note(text))
            #expect(TraceContext.validTraceState(state) == state, self.note(text))
        }
        #expect(taken > 0)
    }

    private func expectBounded(_ text: String) {
        let baggage = Baggage(header: text)
        #expect(baggage.members.count <= 180, self.note(text))
        guard let header = baggage.header() else { return #expect(baggage.members.isEmpty, self.note(text)) }
        #expect(header.utf8.count <= 8_192, self.note(text))
        #expect(header.utf8.allSatisfy { $0 == 0x09 || (0x20...0x7E).contains($0) }, self.note(text))
        let again = Baggage(header: header)
        #expect(again == baggage, self.note(text))
        #expect(again.header() == header, self.note(text))
    }

    @Test("baggage is written as ASCII within its limits, and is the same when read again")
    func baggage() {
        var mutator = Mutator(
            ["user=ada,tenant=7", "a = Am%C3%A9lie ; ttl=5 ; private , b=", "x=%00%22%5C;p=1;q,x=2,y=a=b"],
            words: Self.signs + ["a=1,", ";p=2", "%", "%C3"])
        for _ in 0..<Fuzz.rounds { self.expectBounded(mutator.nextText()) }
    }

    @Test("baggage that is too long is cut to its limits")
    func longBaggage() {
        let many = (0..<300).map { "k\($0)=v" }.joined(separator: ",")
        let long = (0..<100).map { "key\($0)=" + String(repeating: "%", count: 40) }.joined(separator: ",")
        var mutator = Mutator([many, long], words: Self.signs)
        for _ in 0..<max(1, Fuzz.rounds / 100) { self.expectBounded(mutator.nextText()) }
    }

    @Test("a b3 that is taken is written again with the same ids and decision")
    func b3() {
        var mutator = Mutator(
            ["\(Self.trace)-\(Self.span)-1", "\(Self.span)-\(Self.span)-0-\(Self.span)", "\(Self.trace)-\(Self.span)"],
            words: Self.signs + ["-1", "-d", "-0", "true", "0000000000000000"])
        var taken = 0
        for _ in 0..<Fuzz.rounds {
            let text = mutator.nextText()
            guard let remote = B3.parse(single: text) else { continue }
            taken += 1
            #expect(text.utf8.allSatisfy { $0 < 0x80 }, self.note(text))
            let context = remote.spanContext
            let parts = text.split(separator: "-")
            #expect(context.traceID.description.hasSuffix(parts[0]), self.note(text))
            #expect(context.spanID.description == parts[1], self.note(text))
            #expect(remote.isUndecided == (parts.count == 2), self.note(text))
            #expect(B3.parse(single: B3.single(context, isUndecided: false))?.spanContext == context, self.note(text))
        }
        #expect(taken > 0)
    }

    @Test("a pause is between nothing and a day")
    func retryAfter() {
        var mutator = Mutator(
            ["120", "0", "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"],
            words: Self.signs + ["GMT", "Feb", "-", "+", ":", "2147483647", "-2147483648", "9223372036854775807"])
        var taken = 0
        for _ in 0..<Fuzz.rounds {
            let text = mutator.nextText()
            guard let pause = OTLPExporter.pause(text) else { continue }
            taken += 1
            #expect((.zero ... .seconds(86_400)).contains(pause), self.note(text))
        }
        #expect(taken > 0)
        #expect(OTLPExporter.pause("120") == .seconds(120))
        #expect(OTLPExporter.pause("Sun, 06 Nov 1994 08:49:37 GMT") == .zero)
        #expect(OTLPExporter.pause("Fri, 31 Dec 9999 23:59:59 GMT") == .seconds(86_400))
    }

    /// A request with spans of all that there is.
    private static func body() -> [UInt8] {
        let processor = InMemorySpanProcessor()
        let tracer = LanternTracer(sampler: .alwaysOn, processor: processor)
        let root = tracer.startSpan("root", context: .topLevel, ofKind: .server)
        let child = tracer.startSpan("child", context: root.context, ofKind: .client)
        child.attributes = [
            "text": "a 🏮", "number": -1, "ratio": 0.5, "flag": true, "texts": .stringArray(["a", "b"]),
        ]
        child.addEvent(SpanEvent(name: "event", attributes: ["a": 1]))
        child.addLink(root)
        child.setStatus(SpanStatus(code: .error, message: "no"))
        child.end()
        root.end()
        var encoder = OTLPEncoder(resource: [("service.name", "order")])
        return encoder.encode(processor.spans[...]).body
    }

    @Test("a body that is taken as a request is the same when written and read again")
    func requests() throws {
        var mutator = Mutator(
            [Self.body()], words: [[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], [0x2A, 0x02, 0x0A, 0x00], [0x80, 0x80]])
        var taken = 0
        for round in 0..<max(1, Fuzz.rounds / 2) {
            let body = mutator.next()
            guard let spans = try? OTLPReceiver.spans(in: body) else { continue }
            taken += 1
            let request = try OTLPExportTraceServiceRequest(serializedBytes: body)
            let again: [UInt8] = try request.serializedBytes()
            #expect(try OTLPReceiver.spans(in: again) == spans, "LANTERN_FUZZ_SEED=\(Fuzz.seed), round \(round)")
        }
        #expect(taken > 0)
    }
}
