import Testing

@testable import LanternTracing

private let trace = "0af7651916cd43dd8448eb211c80319c"
private let span = "b7ad6b7169203331"

@Suite("traceparent (W3C Trace Context, Level 2)")
struct TraceparentTests {
    static let validTable: [(String, UInt8)] = [
        ("00-\(trace)-\(span)-01", 1),
        ("00-\(trace)-\(span)-00", 0),
        ("00-\(trace)-\(span)-02", 2),
        ("00-\(trace)-\(span)-03", 3),
        ("00-\(trace)-\(span)-fe", 2),
        ("00-\(trace)-\(span)-ff", 3),
        ("01-\(trace)-\(span)-01", 1),
        ("cc-\(trace)-\(span)-01", 1),
        ("cc-\(trace)-\(span)-01-what-the-future-will-be-like", 1),
        ("fe-\(trace)-\(span)-09-", 1),
    ]

    @Test("a valid one gives its ids, and of its flags those that are known", arguments: TraceparentTests.validTable)
    func valid(traceparent: String, flags: UInt8) throws {
        let context = try #require(TraceContext.parse(traceparent: traceparent))
        #expect(context.traceID.description == trace)
        #expect(context.spanID.description == span)
        #expect(context.flags == flags)
        #expect(context.isSampled == (flags == 1 || flags == 3))
        #expect(context.isRemote)
        #expect(context.traceState.isEmpty)
    }

    static let malformedTable: [String] = [
        "",
        "00",
        "00-\(trace)-\(span)",
        "00-\(trace)-\(span)-",
        "00-\(trace)-\(span)-0",
        "00-\(trace)-\(span)-1",
        // Digits are lower-case hexadecimal.
        "00-0AF7651916CD43DD8448EB211C80319C-\(span)-01",
        "00-\(trace)-B7AD6B7169203331-01",
        "00-\(trace)-\(span)-0A",
        "CC-\(trace)-\(span)-01",
        "00-\(trace.dropLast())g-\(span)-01",
        "00-.\(trace.dropLast())-\(span)-01",
        "00-\(trace)-\(span.dropLast()).-01",
        "00-\(trace)-\(span)-.0",
        "0.-\(trace)-\(span)-01",
        "00-\(trace.dropLast(2))é-\(span)-01",
        "00-\(trace)-+\(span.dropLast())-01",
        // Ids are not zero.
        "00-00000000000000000000000000000000-\(span)-01",
        "00-\(trace)-0000000000000000-01",
        // Version ff is forbidden.
        "ff-\(trace)-\(span)-01",
        "ff-\(trace)-\(span)-01-more",
        // Version 00 has four fields of fixed length.
        "00-\(trace)-\(span)-01-",
        "00-\(trace)-\(span)-01-more",
        "00-\(trace)-\(span)-01.",
        "00-\(trace)0-\(span)-01",
        "00-\(trace.dropLast())-\(span)-01",
        "00-\(trace)-\(span)0-01",
        "00-\(trace)-\(span.dropLast())-01",
        "000-\(trace)-\(span)-01",
        "0-\(trace)-\(span)-01",
        "00_\(trace)_\(span)_01",
        // A later version may only go on after a dash.
        "cc-\(trace)-\(span)-01.what-the-future-will-be-like",
        "cc-\(trace)-\(span)-011",
        // Two headers, joined as HTTP joins them.
        "00-\(trace)-\(span)-01,00-\(trace)-\(span)-01",
        "00-\(trace)-\(span)-01, 00-\(trace)-\(span)-01",
    ]

    @Test("a malformed one is none", arguments: TraceparentTests.malformedTable)
    func malformed(traceparent: String) {
        #expect(TraceContext.parse(traceparent: traceparent) == nil)
    }

    @Test("what was read is written again as it was", arguments: ["00", "01", "02", "03"])
    func roundTrip(flags: String) throws {
        let traceparent = "00-\(trace)-\(span)-\(flags)"
        let context = try #require(TraceContext.parse(traceparent: traceparent))
        #expect(TraceContext.traceparent(context) == traceparent)
    }

    @Test("a later version is answered in ours, without what only it knows")
    func laterVersion() throws {
        let context = try #require(TraceContext.parse(traceparent: "cc-\(trace)-\(span)-ff-more"))
        #expect(TraceContext.traceparent(context) == "00-\(trace)-\(span)-03")
    }

    @Test("ids with leading zeros keep all their digits")
    func leadingZeros() throws {
        let traceparent = "00-00000000000000000000000000000001-0000000000000002-01"
        let context = try #require(TraceContext.parse(traceparent: traceparent))
        #expect(TraceContext.traceparent(context) == traceparent)
        #expect(context.traceID.bytes == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        #expect(context.spanID.bytes == [0, 0, 0, 0, 0, 0, 0, 2])
    }
}

@Suite("tracestate (W3C Trace Context, Level 2)")
struct TracestateTests {
    /// `count` members with keys of their own.
    private static func members(_ count: Int) -> String {
        (0..<count).map { "key\($0)=\($0)" }.joined(separator: ",")
    }

    private static let longKey = String(repeating: "k", count: 256)
    private static let longValue = String(repeating: "v", count: 256)

    static let validTable: [(String, String)] = [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("bar=2,foo=1", "bar=2,foo=1"),
        // Space around members goes, space within values stays.
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("\tfoo=1 ", "foo=1"),
        ("foo= 1 2", "foo= 1 2"),
        // Empty members are allowed, and dropped.
        ("", ""),
        (",", ""),
        (" , ,\t", ""),
        ("foo=1,", "foo=1"),
        (",foo=1,,bar=2", "foo=1,bar=2"),
        // Keys of Level 2: a letter or a digit first, `@` anywhere else.
        ("0=1", "0=1"),
        ("a_-*/0=1", "a_-*/0=1"),
        ("tenant@system=1", "tenant@system=1"),
        ("1tenant@system=1", "1tenant@system=1"),
        ("foo@=1,bar=2", "foo@=1,bar=2"),
        ("foo@@bar=1", "foo@@bar=1"),
        ("foo@bar@baz=1", "foo@bar@baz=1"),
        ("\(longKey)=1", "\(longKey)=1"),
        // Of a key that is there twice, the newer value stays.
        ("foo=1,foo=1", "foo=1"),
        ("foo=1,foo=2", "foo=1"),
        ("foo=1,bar=2,foo=3,baz=4", "foo=1,bar=2,baz=4"),
        // Values: printable ASCII but comma and equals sign, up to 256.
        ("foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~", "foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"),
        ("foo=\(longValue)", "foo=\(longValue)"),
        (members(32), members(32)),
        (members(32) + ",,", members(32)),
    ]

    @Test("a valid one is kept, in its order", arguments: TracestateTests.validTable)
    func valid(tracestate: String, expected: String) {
        #expect(TraceContext.validTraceState(tracestate) == expected)
    }

    static let malformedTable: [String] = [
        "foo",
        "=1",
        "foo=",
        "foo= ",
        "foo=1=2",
        "foo=1,bar",
        "foo=1;bar=2",
        // Keys.
        "FOO=1",
        "foo.bar=1",
        "foo =1",
        "fo o=1",
        "_foo=1",
        "-foo=1",
        "*foo=1",
        "/foo=1",
        "@foo=1,bar=2",
        "é=1",
        "\(longKey)k=1",
        // Values.
        "foo=é",
        "foo=a\tb",
        "foo=a\u{0}b",
        "foo=\u{7F}",
        "foo=\(longValue)v",
        // Too many.
        members(33),
    ]

    @Test(
        "a malformed one is dropped as a whole, and the traceparent stays valid",
        arguments: TracestateTests.malformedTable)
    func malformed(tracestate: String) throws {
        #expect(TraceContext.validTraceState(tracestate) == nil)
        let context = try #require(
            TraceContext.parse(traceparent: "00-\(trace)-\(span)-01", tracestate: tracestate)
        )
        #expect(context.traceState.isEmpty)
        #expect(context.traceID.description == trace)
    }
}

@Suite("Trace and span ids")
struct IDTests {
    /// Begins with zeros, as a real generator may.
    private struct FromZero: RandomNumberGenerator {
        var state: UInt64 = 0

        mutating func next() -> UInt64 {
            defer { self.state += 1 }
            return self.state / 2
        }
    }

    @Test("zero is no id")
    func zero() {
        #expect(TraceID(high: 0, low: 0) == nil)
        #expect(TraceID(high: 1, low: 0) != nil)
        #expect(TraceID(high: 0, low: 1) != nil)
        #expect(SpanID(0) == nil)
    }

    @Test("a generator that yields zeros yields no zero id")
    func fromZero() {
        var generator = FromZero()
        let traceID = TraceID(nonZero: &generator)
        #expect(traceID.high != 0 || traceID.low != 0)
        generator = FromZero()
        #expect(SpanID(nonZero: &generator).value != 0)
    }

    @Test("ids are written in full, big-endian")
    func text() throws {
        let traceID = try #require(TraceID(high: 0x0123_4567_89AB_CDEF, low: 0xFF00_0000_0000_0001))
        #expect(traceID.description == "0123456789abcdefff00000000000001")
        #expect(
            traceID.bytes == [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFF, 0, 0, 0, 0, 0, 0, 0x01]
        )
        let spanID = try #require(SpanID(0xFEDC_BA98_7654_3210))
        #expect(spanID.description == "fedcba9876543210")
        #expect(spanID.bytes == [0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10])
    }
}
