import LanternMetrics
import Testing

@Suite("What a scraper asks for")
struct NegotiationTests {
    /// What Prometheus 2.42 sends.
    static let prometheus2 = [
        "application/openmetrics-text;version=1.0.0", "application/openmetrics-text;version=0.0.1;q=0.75",
        "text/plain;version=0.0.4;q=0.5", "*/*;q=0.1",
    ].joined(separator: ",")

    /// The same with native histograms switched on.
    static let prometheus2Protobuf = [
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
        "application/openmetrics-text;version=1.0.0;q=0.8", "application/openmetrics-text;version=0.0.1;q=0.75",
        "text/plain;version=0.0.4;q=0.5", "*/*;q=0.1",
    ].joined(separator: ",")

    /// What Prometheus 3 sends.
    static let prometheus3 = [
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
        "application/openmetrics-text;version=0.0.1;q=0.5", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
        "text/plain;version=0.0.4;q=0.3", "*/*;q=0.2",
    ].joined(separator: ",")

    static let prometheus3Protobuf = [
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            + ";escaping=allow-utf-8;q=0.7",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6",
        "application/openmetrics-text;version=0.0.1;q=0.5", "text/plain;version=0.0.4;q=0.3", "*/*;q=0.2",
    ].joined(separator: ",")

    static let scrapers: [(String?, ExpositionFormat)] = [
        (nil, .text),
        ("", .text),
        ("*/*", .text),
        ("text/*", .text),
        ("text/plain", .text),
        (NegotiationTests.prometheus2, .openMetrics),
        (NegotiationTests.prometheus2Protobuf, .protobuf),
        (NegotiationTests.prometheus3, ExpositionFormat(.openMetrics, escaping: .utf8)),
        (NegotiationTests.prometheus3Protobuf, ExpositionFormat(.protobuf, escaping: .utf8)),
        // A browser.
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", .text),
        ("application/json", .text),
        ("application/openmetrics-text", .openMetrics),
        ("application/openmetrics-text;version=0.0.1", ExpositionFormat(.openMetrics, version: "0.0.1")),
        ("text/plain;version=1.0.0", ExpositionFormat(.text, escaping: .underscores)),
        ("text/plain;version=1.0.0;escaping=dots", ExpositionFormat(.text, escaping: .dots)),
        ("application/openmetrics-text;escaping=values", ExpositionFormat(.openMetrics, escaping: .values)),
        ("application/vnd.google.protobuf", .protobuf),
    ]

    @Test("each scraper gets the best that it takes", arguments: NegotiationTests.scrapers)
    func scraper(accept: String?, expected: ExpositionFormat) {
        #expect(ExpositionFormat(accept: accept) == expected)
    }

    static let weights: [(String, ExpositionFormat)] = [
        // The highest weight, the first of equals.
        ("text/plain;q=0.4,application/openmetrics-text;q=0.6", .openMetrics),
        ("application/openmetrics-text;q=0.4,text/plain;q=0.6", .text),
        ("text/plain;version=0.0.4,application/openmetrics-text", .text),
        ("application/openmetrics-text,text/plain;version=0.0.4", .openMetrics),
        ("application/openmetrics-text;q=0.001,text/html", .openMetrics),
        // 0 says no; what is no weight says nothing that could be trusted.
        ("application/openmetrics-text;q=0,application/vnd.google.protobuf;q=0.1", .protobuf),
        ("application/openmetrics-text;q=0", .text),
        ("application/openmetrics-text;q=0.000,text/plain;q=0", .text),
        ("application/openmetrics-text;q=high,application/vnd.google.protobuf;q=0.1", .protobuf),
        ("application/openmetrics-text;q=-1,application/vnd.google.protobuf;q=0.1", .protobuf),
        ("application/openmetrics-text;q=1.5,application/vnd.google.protobuf;q=0.1", .protobuf),
        ("application/openmetrics-text;q=NaN,application/vnd.google.protobuf;q=0.1", .protobuf),
    ]

    @Test("weights decide, and bad ones do not", arguments: NegotiationTests.weights)
    func weight(accept: String, expected: ExpositionFormat) {
        #expect(ExpositionFormat(accept: accept) == expected)
    }

    static let shapes: [(String, ExpositionFormat)] = [
        // Case and blanks.
        ("APPLICATION/OPENMETRICS-TEXT; VERSION=1.0.0; Q=0.9", .openMetrics),
        (" application/openmetrics-text ;\tversion = 1.0.0 ; q=0.5 , text/plain;q=0.4", .openMetrics),
        // Quoted parameters, with what would separate outside of quotes.
        (
            #"application/openmetrics-text;version="1.0.0";escaping="allow-utf-8""#,
            ExpositionFormat(.openMetrics, escaping: .utf8)
        ),
        (#"text/html;title="a,b;q=1",application/openmetrics-text;q=0.1"#, .openMetrics),
        (#"text/html;title="a\",b",application/openmetrics-text;q=0.1"#, .openMetrics),
        (#"text/html;title="never closed,application/openmetrics-text"#, .text),
        // Versions, encodings and schemes that are unknown.
        ("application/openmetrics-text;version=2.0.0,application/vnd.google.protobuf;q=0.1", .protobuf),
        ("text/plain;version=0.0.3,application/openmetrics-text;q=0.1", .openMetrics),
        ("application/vnd.google.protobuf;encoding=text,application/openmetrics-text;q=0.1", .openMetrics),
        ("application/vnd.google.protobuf;proto=other.Message,application/openmetrics-text;q=0.1", .openMetrics),
        ("application/openmetrics-text;escaping=upside-down", .openMetrics),
        ("text/plain;version=1.0.0;escaping=upside-down", ExpositionFormat(.text, escaping: .underscores)),
        // Nothing between separators.
        (",,;;,application/openmetrics-text;;version=1.0.0,", .openMetrics),
        (";q=1", .text),
    ]

    @Test("a header of any shape is read as RFC 9110 says", arguments: NegotiationTests.shapes)
    func shape(accept: String, expected: ExpositionFormat) {
        #expect(ExpositionFormat(accept: accept) == expected)
    }

    static let types: [(ExpositionFormat, String)] = [
        (.text, "text/plain; version=0.0.4; charset=utf-8"),
        (
            ExpositionFormat(.text, escaping: .underscores),
            "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"
        ),
        (
            ExpositionFormat(.text, escaping: .utf8),
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        ),
        (.openMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            ExpositionFormat(.openMetrics, version: "0.0.1"),
            "application/openmetrics-text; version=0.0.1; charset=utf-8"
        ),
        (
            ExpositionFormat(.openMetrics, escaping: .values),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values"
        ),
        (
            .protobuf,
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        ),
        (
            ExpositionFormat(.protobuf, escaping: .dots),
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
                + "; escaping=dots"
        ),
    ]

    @Test("the answer says which format and which names it has", arguments: NegotiationTests.types)
    func contentType(format: ExpositionFormat, expected: String) {
        #expect(format.contentType == expected)
    }

    @Test("what an answer says of itself leads to the same answer", arguments: NegotiationTests.types)
    func asked(format: ExpositionFormat, contentType: String) {
        #expect(ExpositionFormat(accept: contentType) == format)
    }

    static let codings: [(String?, Bool)] = [
        (nil, false), ("", false), ("identity", false), ("br", false), ("gzipped", false),
        ("gzip", true), ("GZIP", true), ("x-gzip", true), ("deflate, gzip;q=0.5", true),
        ("gzip;q=0", false), ("gzip ; q=0.000", false), ("gzip;Q=0", false), ("gzip;q=0.001", true),
        ("gzip;q=much", false), ("*", true), ("*;q=0", false), ("*;q=0, gzip", true), ("gzip;q=0, *", false),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", true),
    ]

    @Test("gzip is sent to who takes it", arguments: NegotiationTests.codings)
    func coding(header: String?, expected: Bool) {
        #expect(ContentCoding.acceptsGzip(header) == expected)
    }
}
