import LanternTracing
import LanternTracingTesting
import Testing
import Tracing

private struct Refused: Error {}

@Suite("Expected traces: what a mismatch says")
struct TraceMismatchTests {
    private let recorder = SpanRecorder()

    @Test("it names the way to what is missing, and shows the tree that is there")
    func deep() throws {
        let request = self.recorder.add(.server, "POST /v1/orders", at: 1, takes: 9)
        let create = self.recorder.add(.producer, "create order.events.v1", below: request, at: 4, takes: 2)
        self.recorder.add(.consumer, "process order.events.v1", below: create, at: 20) { span in
            span.addLink(create)
            span.recordError(Refused())
        }
        let found = try mismatch(self.recorder.spans) {
            server("POST /v1/orders") {
                producer("create order.events.v1") {
                    consumer("process order.events.v1").with("messaging.system", "kafka").failed(false)
                        .linked(to: "create …")
                }
            }
        }
        #expect(
            found.missing == [
                #"server "POST /v1/orders" > producer "create order.events.v1" > "#
                    + #"consumer "process order.events.v1" messaging.system=kafka not failed linked to "create …""#
            ]
        )
        let tree = """
            server "POST /v1/orders" 9.0 ms
              producer "create order.events.v1" 2.0 ms
                consumer "process order.events.v1" failed linked to "create order.events.v1" 1.0 ms

            """
        #expect(found.found == tree)
        #expect(found.description == "not there:\n  \(found.missing[0])\nthere is:\n\(tree)")
    }

    @Test("it names all that is missing, each on a line of its own")
    func several() throws {
        let request = self.recorder.add(.server, "GET /")
        self.recorder.add(.client, "SELECT product", below: request)
        let found = try mismatch(self.recorder.spans) {
            server("GET /") {
                client("SELECT order")
                client("SELECT product")
                client("COMMIT")
            }
            consumer("process")
        }
        let expected = [
            #"server "GET /" > client "SELECT order""#, #"server "GET /" > client "COMMIT""#, #"consumer "process""#,
        ]
        #expect(found.missing == expected)
        for line in expected { #expect(found.description.contains("  \(line)\n")) }
    }

    @Test("a sibling that is there, but too early, is missing")
    func early() throws {
        let request = self.recorder.add(.server, "GET /")
        self.recorder.add(.client, "first", below: request, at: 2)
        self.recorder.add(.client, "second", below: request, at: 3)
        let found = try mismatch(self.recorder.spans) {
            server("GET /") {
                client("second")
                client("first")
            }
        }
        #expect(found.missing == [#"server "GET /" > client "first""#])
    }

    @Test("of several trees, it speaks of the one that comes closest")
    func closest() throws {
        let near = self.recorder.add(.server, "GET /", at: 1)
        self.recorder.add(.client, "one", below: near, at: 2)
        self.recorder.add(.server, "GET /", at: 5)
        let found = try mismatch(self.recorder.spans) {
            server("GET /") {
                client("one")
                client("two")
            }
        }
        #expect(found.missing == [#"server "GET /" > client "two""#])
        // Both trees are shown, not the closest only.
        #expect(found.found.split(separator: "\n").count { $0.hasPrefix(#"server "GET /""#) } == 2)
    }

    @Test("it shows a link to a span that was not collected by its id")
    func link() throws {
        let elsewhere = SpanRecorder().add(.producer, "create")
        self.recorder.add(.client, "send") { $0.addLink(elsewhere) }
        let found = try mismatch(self.recorder.spans) { client("send").linked(to: "create") }
        #expect(found.missing == [#"client "send" linked to "create""#])
        #expect(found.found.contains("linked to \"\(elsewhere.spanContext.spanID)\""))
    }

    @Test("without any span, all is missing and nothing is there")
    func nothing() throws {
        let found = try mismatch(self.recorder.spans) {
            server("GET /") { client("SELECT") }
            client("send")
        }
        #expect(found.missing == [#"server "GET /""#, #"client "send""#])
        #expect(found.found.isEmpty)
    }
}

@Suite("Expected traces: which spans")
struct CollectionTests {
    private let recorder = SpanRecorder()

    @Test("several roots are looked for, each wherever it stands")
    func roots() throws {
        self.recorder.add(.server, "GET /", at: 1)
        self.recorder.add(.client, "send", at: 5)
        try self.recorder.spans.expectTrace {
            client("send")
            server("GET /")
        }
        let found = try mismatch(self.recorder.spans) {
            client("send")
            consumer("ingest batch")
            server("GET /")
        }
        #expect(found.missing == [#"consumer "ingest batch""#])
    }

    @Test("a span whose parent is not among them is a root, wherever that parent is")
    func remoteParent() throws {
        let elsewhere = SpanRecorder().add(.client, "GET")
        let request = self.recorder.add(.server, "GET /", below: elsewhere)
        self.recorder.add(.client, "SELECT", below: request)
        try self.recorder.spans.expectTrace { server("GET /") { client("SELECT") } }
    }

    @Test("those of several services are one tree, in whatever order they come")
    func services() throws {
        let other = SpanRecorder()
        let create = self.recorder.add(.producer, "create", at: 1)
        other.add(.consumer, "process", below: create, at: 3)
        for spans in [other.spans.spans + self.recorder.spans.spans, self.recorder.spans.spans + other.spans.spans] {
            try CollectedSpans(spans).expectTrace { producer("create") { consumer("process") } }
        }
    }

    @Test("those of one trace are without those of others")
    func oneTrace() throws {
        let first = self.recorder.add(.server, "GET /first")
        self.recorder.add(.server, "GET /second")
        let spans = self.recorder.spans.inTrace(first.spanContext.traceID)
        #expect(spans.spans.map(\.name) == ["GET /first"])
        try spans.expectTrace { server("GET /first") }
        _ = try mismatch(spans) { server("GET /second") }
    }

    @Test("in those of one trace a link to another trace still has its name")
    func oneTraceLinks() throws {
        let create = self.recorder.add(.producer, "create")
        let send = self.recorder.add(.client, "send") { $0.addLink(create) }
        let spans = self.recorder.spans.inTrace(send.spanContext.traceID)
        #expect(spans.spans.map(\.name) == ["send"])
        try spans.expectTrace { client("send").linked(to: "create") }
    }

    @Test("those that end in a piece of code are collected, also of its child tasks, and no others")
    func during() async throws {
        let outside = self.recorder.add(.internal, "before")
        let spans = await CollectedSpans.during {
            await withSpan("work", context: .topLevel) { _ in
                async let part: Void = withSpan("part", ofKind: .client) { _ in }
                await part
            }
            startSpan("left open", context: .topLevel).attributes["n"] = 1
        }
        withSpan("after", context: outside.context) { _ in }
        #expect(Set(spans.spans.map(\.name)) == ["work", "part"])
        try spans.expectTrace { span("work") { client("part") } }
    }

    @Test("two pieces of code that run at once collect their own")
    func duringAtOnce() async throws {
        func collect(_ name: String) async -> [String] {
            await CollectedSpans.during {
                for _ in 0..<20 {
                    withSpan(name, context: .topLevel) { _ in }
                    await Task.yield()
                }
            }.spans.map(\.name)
        }
        async let first = collect("first")
        async let second = collect("second")
        #expect(await first == Array(repeating: "first", count: 20))
        #expect(await second == Array(repeating: "second", count: 20))
    }

    @Test("an error in a piece of code is thrown on")
    func duringThrows() async {
        await #expect(throws: Refused.self) {
            _ = try await CollectedSpans.during { throw Refused() }
        }
    }
}
