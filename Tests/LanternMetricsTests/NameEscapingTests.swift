import CoreMetrics
import Testing

@testable import LanternMetrics

/// The rules are those of "UTF-8 escaping schemes" in the Prometheus documentation and of `model.EscapeName` in
/// prometheus/common, where most of the table comes from.
@Suite("Names beyond the classic ones")
struct NameEscapingTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var underscores: String
        var dots: String
        var values: String

        var testDescription: String { self.name }
    }

    static let rows = [
        Row(
            name: "no:escaping_required", underscores: "no:escaping_required", dots: "no:escaping_required",
            values: "no:escaping_required"
        ),
        Row(
            name: "mysystem.prod.west.cpu.load", underscores: "mysystem_prod_west_cpu_load",
            dots: "mysystem_dot_prod_dot_west_dot_cpu_dot_load", values: "U__mysystem_2e_prod_2e_west_2e_cpu_2e_load"
        ),
        Row(
            name: "mysystem.cpu.load_total", underscores: "mysystem_cpu_load_total",
            dots: "mysystem_dot_cpu_dot_load__total", values: "U__mysystem_2e_cpu_2e_load__total"
        ),
        Row(
            name: "http.status:sum", underscores: "http_status:sum", dots: "http_dot_status:sum",
            values: "U__http_2e_status:sum"
        ),
        Row(
            name: "label with 😱", underscores: "label_with__", dots: "label__with____",
            values: "U__label_20_with_20__1f631_"
        ),
        Row(name: "花火", underscores: "__", dots: "____", values: "U___82b1__706b_"),
        Row(
            name: "label with \u{100}", underscores: "label_with__", dots: "label__with____",
            values: "U__label_20_with_20__100_"
        ),
        // A digit may not be first.
        Row(name: "2xx", underscores: "_xx", dots: "__xx", values: "U___32_xx"),
        Row(name: "a2xx", underscores: "a2xx", dots: "a2xx", values: "a2xx"),
        Row(name: "a\"b\\c\nd", underscores: "a_b_c_d", dots: "a__b__c__d", values: "U__a_22_b_5c_c_a_d"),
        // One that looks escaped is escaped, or it would be read back as another one.
        Row(name: "U__a_2e_b", underscores: "U__a_2e_b", dots: "U__a_2e_b", values: "U__U____a__2e__b"),
    ]

    @Test("each scheme writes a name by its rules", arguments: NameEscapingTests.rows)
    func schemes(row: Row) {
        #expect(NameEscaping.escape(row.name, .utf8, allowColon: true) == row.name)
        #expect(NameEscaping.escape(row.name, .underscores, allowColon: true) == row.underscores)
        #expect(NameEscaping.escape(row.name, nil, allowColon: true) == row.underscores)
        #expect(NameEscaping.escape(row.name, .dots, allowColon: true) == row.dots)
        #expect(NameEscaping.escape(row.name, .values, allowColon: true) == row.values)
    }

    @Test("a colon is for metrics only")
    func colon() {
        #expect(NameEscaping.escape("a:b", .underscores, allowColon: false) == "a_b")
        #expect(NameEscaping.escape("a:b", .values, allowColon: false) == "U__a_3a_b")
    }

    @Test("whatever the name: what is written is classic, and values are read back as they were")
    func anyName() throws {
        var generator = SeededGenerator(seed: 2)
        for _ in 0..<2_000 {
            let name = HostileText.random(using: &generator, limit: 12) + "x"
            for scheme in [ExpositionFormat.Escaping.underscores, .dots, .values] {
                for allowColon in [true, false] {
                    let escaped = NameEscaping.escape(name, scheme, allowColon: allowColon)
                    #expect(MetricName.isClassic(escaped, allowColon: allowColon), "\(name.debugDescription)")
                }
            }
            let values = NameEscaping.escape(name, .values, allowColon: true)
            #expect(Array(try Self.unescaped(values).utf8) == Array(name.utf8), "\(name.debugDescription)")
        }
    }

    /// Reads the scheme `values` back.
    private static func unescaped(_ text: String) throws -> String {
        guard text.hasPrefix("U__") else { return text }
        var name = String.UnicodeScalarView()
        var rest = text.unicodeScalars.dropFirst(3)
        while let scalar = rest.popFirst() {
            guard scalar == "_" else {
                name.append(scalar)
                continue
            }
            let digits = Substring(rest.prefix { $0 != "_" })
            rest = rest.dropFirst(digits.unicodeScalars.count + 1)
            if digits.isEmpty {
                name.append("_")
            } else {
                let code = try #require(UInt32(digits, radix: 16))
                name.append(try #require(Unicode.Scalar(code)))
            }
        }
        return String(name)
    }

    // MARK: In an exposition

    private static var utf8: MetricsConfiguration {
        var configuration = MetricsConfiguration()
        configuration.allowsUTF8Names = true
        configuration.showsCreated = false
        return configuration
    }

    private static func text(_ escaping: ExpositionFormat.Escaping?) -> ExpositionFormat {
        ExpositionFormat(.text, escaping: escaping)
    }

    @Test("a name is quoted for who takes it, and escaped for others")
    func gauge() {
        let registry = MetricsRegistry(Self.utf8)
        registry.makeMeter(label: "my.metric", dimensions: [("my.label", "x")]).set(Double(1))
        registry.makeMeter(label: "my.metric", dimensions: []).set(Double(2))
        let table: [(ExpositionFormat.Escaping?, [String])] = [
            (.utf8, [##"# TYPE "my.metric" gauge"##, #"{"my.metric","my.label"="x"} 1"#, #"{"my.metric"} 2"#]),
            (.underscores, ["# TYPE my_metric gauge", #"my_metric{my_label="x"} 1"#, "my_metric 2"]),
            (nil, ["# TYPE my_metric gauge", #"my_metric{my_label="x"} 1"#, "my_metric 2"]),
            (.dots, ["# TYPE my_dot_metric gauge", #"my_dot_metric{my_dot_label="x"} 1"#, "my_dot_metric 2"]),
            (
                .values,
                [
                    "# TYPE U__my_2e_metric gauge", #"U__my_2e_metric{U__my_2e_label="x"} 1"#, "U__my_2e_metric 2",
                ]
            ),
        ]
        for (escaping, expected) in table {
            #expect(registry.exposed("my", as: Self.text(escaping)) == expected)
        }
    }

    @Test("a classic name stands as ever, also beside a label that is none")
    func classic() {
        let registry = MetricsRegistry(Self.utf8)
        registry.makeMeter(label: "my:metric", dimensions: [("b.c", "1"), ("a", "2")]).set(Double(1))
        #expect(registry.exposed("my", as: Self.text(.utf8)).last == #"my:metric{a="2","b.c"="1"} 1"#)
    }

    @Test("quotes, backslashes and newlines in a quoted name are escaped")
    func quoting() {
        let registry = MetricsRegistry(Self.utf8)
        registry.makeMeter(label: "my\"m\\e\nt", dimensions: [("l\"a\\b\ne", "x")]).set(Double(1))
        #expect(
            registry.exposed("my", as: Self.text(.utf8)) == [
                ##"# TYPE "my\"m\\e\nt" gauge"##, #"{"my\"m\\e\nt","l\"a\\b\ne"="x"} 1"#,
            ]
        )
    }

    @Test("two labels whose names become one are one, with both values")
    func merged() {
        let registry = MetricsRegistry(Self.utf8)
        registry.makeMeter(label: "my.metric", dimensions: [("a_b", "2"), ("a.b", "1")]).set(Double(1))
        #expect(registry.exposed("my", as: Self.text(.utf8)).last == #"{"my.metric","a.b"="1",a_b="2"} 1"#)
        #expect(registry.exposed("my", as: Self.text(.underscores)).last == #"my_metric{a_b="1;2"} 1"#)
        #expect(registry.exposed("my", as: Self.text(.dots)).last == #"my_dot_metric{a_b="2",a_dot_b="1"} 1"#)
    }

    @Test("a histogram's samples are quoted with their suffix")
    func histogram() {
        let registry = MetricsRegistry(Self.utf8)
        registry.declare([MetricDeclaration("my.sizes", .histogram, "My sizes.", buckets: [1])])
        registry.makeRecorder(label: "my.sizes", dimensions: [], aggregate: true).record(0.5)
        registry.makeRecorder(label: "my.sizes", dimensions: [("my.kind", "a")], aggregate: true).record(2.5)
        #expect(
            registry.exposed("my", as: Self.text(.utf8)) == [
                ##"# HELP "my.sizes" My sizes."##, ##"# TYPE "my.sizes" histogram"##,
                #"{"my.sizes_bucket",le="1.0"} 1"#, #"{"my.sizes_bucket",le="+Inf"} 1"#,
                #"{"my.sizes_sum"} 0.5"#, #"{"my.sizes_count"} 1"#,
                #"{"my.sizes_bucket","my.kind"="a",le="1.0"} 0"#, #"{"my.sizes_bucket","my.kind"="a",le="+Inf"} 1"#,
                #"{"my.sizes_sum","my.kind"="a"} 2.5"#, #"{"my.sizes_count","my.kind"="a"} 1"#,
            ]
        )
        #expect(registry.exposed("my", as: Self.text(.values)).contains(#"U__my_2e_sizes_bucket{le="1.0"} 1"#))
    }

    @Test("a counter's family has no _total in OpenMetrics, however it is written")
    func counter() {
        let registry = MetricsRegistry(Self.utf8)
        registry.makeCounter(label: "my.jobs", dimensions: []).increment(by: 1)
        let table: [(ExpositionFormat.Escaping, [String])] = [
            (.utf8, [##"# TYPE "my.jobs" counter"##, #"{"my.jobs_total"} 1"#]),
            (.underscores, ["# TYPE my_jobs counter", "my_jobs_total 1"]),
            (.dots, ["# TYPE my_dot_jobs_ counter", "my_dot_jobs__total 1"]),
            (.values, ["# TYPE U__my_2e_jobs_ counter", "U__my_2e_jobs__total 1"]),
        ]
        for (escaping, expected) in table {
            #expect(registry.exposed("my", as: ExpositionFormat(.openMetrics, escaping: escaping)) == expected)
        }
    }

    // MARK: In a registry of classic names

    @Test("whatever metrics and labels are called: every name is classic, and no line has a label twice")
    func hostileNames() throws {
        let registry = MetricsRegistry()
        var generator = SeededGenerator(seed: 3)
        for number in 0..<300 {
            let name = "my\(number)" + HostileText.random(using: &generator, limit: 8)
            let dimensions = (0..<4).map { ("\(HostileText.random(using: &generator, limit: 3))", "\($0)") }
            registry.makeTimer(label: name, dimensions: dimensions).recordNanoseconds(1)
        }
        try Self.expectReadable(registry.exposed("my").filter { !$0.hasPrefix("#") }, count: 300 * 17)
    }

    @Test(
        "a dimension cannot take the place of a label that Prometheus gives a meaning",
        arguments: ["le", "__name__", "__address__"]
    )
    func reserved(label: String) throws {
        let registry = MetricsRegistry()
        registry.declare([MetricDeclaration("my_seconds", .histogram, "Mine.", buckets: [1])])
        registry.makeTimer(label: "my_seconds", dimensions: [(label, "x")]).recordNanoseconds(1)
        let lines = registry.exposed("my_seconds").filter { !$0.hasPrefix("#") }
        try Self.expectReadable(lines, count: 4)
        #expect(lines.allSatisfy { !$0.contains("{__") && !$0.contains(",__") })
    }

    private static func expectReadable(_ lines: [String], count: Int) throws {
        #expect(lines.count == count)
        for line in lines {
            let name = line.prefix { $0 != "{" && $0 != " " }
            #expect(MetricName.isClassic(String(name), allowColon: true), "\(line)")
            guard let open = line.firstIndex(of: "{") else { continue }
            let close = try #require(line.lastIndex(of: "}"), "\(line)")
            let labels = LabelReader(Array(line[line.index(after: open)..<close].utf8)[...]).map { $0.name }
            #expect(labels.allSatisfy { MetricName.isClassic($0, allowColon: false) }, "\(line)")
            #expect(Set(labels).count == labels.count, "\(line)")
        }
    }
}
