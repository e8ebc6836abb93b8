import LanternTracing
import LanternTracingTesting
import Testing
import Tracing

private struct Refused: Error {}

@Suite("Expected traces: what matches")
struct CollectedSpansTests {
    private let recorder = SpanRecorder()

    /// One request with two statements and an event, which a consumer takes.
    private func order() -> CollectedSpans {
        let request = self.recorder.add(.server, "POST /v1/orders", at: 1, takes: 9)
        self.recorder.add(.client, "UPDATE product", below: request, at: 2)
        self.recorder.add(.client, "INSERT customer_order", below: request, at: 3)
        let create = self.recorder.add(.producer, "create order.events.v1", below: request, at: 4)
        self.recorder.add(.consumer, "process order.events.v1", below: create, at: 20)
        return self.recorder.spans
    }

    @Test("a whole tree matches, and so does a part of it")
    func tree() throws {
        let spans = self.order()
        try spans.expectTrace {
            server("POST /v1/orders") {
                client("UPDATE product")
                client("INSERT customer_order")
                producer("create order.events.v1") { consumer("process order.events.v1") }
            }
        }
        try spans.expectTrace { server("POST /v1/orders") { producer("create order.events.v1") } }
    }

    @Test("name, kind and place must be those that are expected")
    func differences() throws {
        let spans = self.order()
        _ = try mismatch(spans) { server("POST /v1/products") }
        _ = try mismatch(spans) { client("POST /v1/orders") }
        _ = try mismatch(spans) { span("POST /v1/orders") }
        // It is there, but two steps below.
        _ = try mismatch(spans) { server("POST /v1/orders") { consumer("process order.events.v1") } }
        // It is there, but not as a root.
        _ = try mismatch(spans) { producer("create order.events.v1") }
    }

    @Test("siblings must have begun in the expected order; others may be between them")
    func siblings() throws {
        let spans = self.order()
        try spans.expectTrace {
            server("POST /v1/orders") {
                client("UPDATE product")
                producer("create order.events.v1")
            }
        }
        _ = try mismatch(spans) {
            server("POST /v1/orders") {
                client("INSERT customer_order")
                client("UPDATE product")
            }
        }
    }

    @Test("the order is that in which spans began, not that in which they ended")
    func start() throws {
        let root = self.recorder.add(.server, "GET /", at: 1, takes: 20)
        self.recorder.add(.client, "second", below: root, at: 5, takes: 1)
        self.recorder.add(.client, "first", below: root, at: 2, takes: 15)
        let spans = self.recorder.spans
        try spans.expectTrace {
            server("GET /") {
                client("first")
                client("second")
            }
        }
        _ = try mismatch(spans) {
            server("GET /") {
                client("second")
                client("first")
            }
        }
    }

    @Test("each expected sibling needs a span of its own")
    func ownSibling() throws {
        let root = self.recorder.add(.server, "GET /")
        self.recorder.add(.consumer, "process", below: root)
        try self.recorder.spans.expectTrace { server("GET /") { consumer("process") } }
        _ = try mismatch(self.recorder.spans) {
            server("GET /") {
                consumer("process")
                consumer("process")
            }
        }
    }

    @Test("each expected root needs a root of its own")
    func ownRoot() throws {
        self.recorder.add(.consumer, "process")
        _ = try mismatch(self.recorder.spans) {
            consumer("process")
            consumer("process")
        }
        self.recorder.add(.consumer, "process")
        try self.recorder.spans.expectTrace {
            consumer("process")
            consumer("process")
        }
    }

    @Test("an expectation that any root meets leaves to others the one that only they need")
    func looseRoot() throws {
        let create = self.recorder.add(.producer, "create")
        self.recorder.add(.client, "send", at: 2) { $0.addLink(create) }
        self.recorder.add(.client, "send", at: 3)
        try self.recorder.spans.expectTrace {
            client("send")
            client("send").linked(to: "create")
        }
    }

    @Test("the sibling that has what is expected below it is found behind one that has not")
    func laterSibling() throws {
        let root = self.recorder.add(.server, "GET /")
        self.recorder.add(.client, "call", below: root, at: 2)
        let second = self.recorder.add(.client, "call", below: root, at: 3)
        self.recorder.add(.server, "GET /other", below: second, at: 4)
        try self.recorder.spans.expectTrace { server("GET /") { client("call") { server("GET /other") } } }
        _ = try mismatch(self.recorder.spans) {
            server("GET /") {
                client("call") { server("GET /other") }
                client("call")
            }
        }
    }

    @Test(
        "… stands for any text in a name, also for none, as often as it is there",
        arguments: [
            ("INSERT …", "INSERT order", true), ("INSERT …", "INSERT ", true), ("INSERT …", "UPDATE order", false),
            ("…", "", true), ("…", "anything", true), ("… order", "INSERT order", true), ("… order", "orders", false),
            ("a…c", "abc", true), ("a…c", "ac", true), ("a…c", "abcd", false), ("a…a", "a", false),
            ("a…b…c", "a1b2c", true), ("a…b…c", "acb", false), ("a……c", "abc", true), ("…b…", "abc", true),
            ("INSERT", "INSERT order", false), ("...", "abc", false), ("*", "abc", false),
        ]
    )
    func patterns(pattern: String, name: String, matches: Bool) throws {
        self.recorder.add(.client, name)
        if matches {
            try self.recorder.spans.expectTrace { client(pattern) }
        } else {
            _ = try mismatch(self.recorder.spans) { client(pattern) }
        }
    }

    @Test("attributes are compared as they are printed, and … stands for any text in them")
    func attributes() throws {
        self.recorder.add(.server, "GET /") { span in
            span.attributes["http.route"] = "/v1/orders/{id}"
            span.attributes["http.response.status_code"] = 201
            span.attributes["share"] = 0.5
            span.attributes["cached"] = true
        }
        let spans = self.recorder.spans
        try spans.expectTrace {
            server("GET /").with("http.route", "/v1/…").with("http.response.status_code", 201).with("share", 0.5)
                .with("cached", true)
        }
        _ = try mismatch(spans) { server("GET /").with("http.response.status_code", 200) }
        _ = try mismatch(spans) { server("GET /").with("http.response.status_code", 201).with("cached", false) }
        // One that is not there is not even any text.
        _ = try mismatch(spans) { server("GET /").with("error.type", "…") }
        _ = try mismatch(spans) { server("GET /").with("error.type", "") }
    }

    @Test("failed and not failed are asked for, or left open")
    func failed() throws {
        self.recorder.add(.consumer, "bad") { $0.recordError(Refused()) }
        self.recorder.add(.consumer, "good")
        self.recorder.add(.consumer, "confirmed") { $0.setStatus(SpanStatus(code: .ok)) }
        let spans = self.recorder.spans
        try spans.expectTrace {
            consumer("bad").failed()
            consumer("good").failed(false)
            consumer("confirmed").failed(false)
        }
        try spans.expectTrace {
            consumer("bad")
            consumer("good")
        }
        _ = try mismatch(spans) { consumer("bad").failed(false) }
        _ = try mismatch(spans) { consumer("good").failed() }
    }

    @Test("a link is to a span of that name, in this trace or in another one")
    func links() throws {
        let create = self.recorder.add(.producer, "create order.events.v1")
        let other = self.recorder.add(.producer, "create auth.events.v1")
        self.recorder.add(.client, "send") { span in
            span.addLink(create)
            span.addLink(other)
        }
        self.recorder.add(.client, "send nothing")
        let spans = self.recorder.spans
        try spans.expectTrace {
            client("send").linked(to: "create order.events.v1").linked(to: "create auth.events.v1")
        }
        try spans.expectTrace { client("send").linked(to: "create …") }
        _ = try mismatch(spans) { client("send").linked(to: "create activity.events.v1") }
        _ = try mismatch(spans) { client("send nothing").linked(to: "…") }
    }

    @Test("a span that is linked to and was not collected has no name to be found by")
    func linkElsewhere() throws {
        let elsewhere = SpanRecorder().add(.producer, "create order.events.v1")
        self.recorder.add(.client, "send") { $0.addLink(elsewhere) }
        _ = try mismatch(self.recorder.spans) { client("send").linked(to: "create order.events.v1") }
    }

    @Test("expectations can be made by conditions and loops")
    func builder() throws {
        let root = self.recorder.add(.server, "GET /")
        for number in 1...3 { self.recorder.add(.client, "call \(number)", below: root, at: UInt64(number)) }
        func expected(upTo last: Int, isTraced: Bool) -> ExpectedSpan {
            server("GET /") {
                if isTraced { client("call 1") }
                for number in 2...last { client("call \(number)") }
            }
        }
        try self.recorder.spans.expectTrace { expected(upTo: 3, isTraced: true) }
        try self.recorder.spans.expectTrace { expected(upTo: 2, isTraced: false) }
        _ = try mismatch(self.recorder.spans) { expected(upTo: 4, isTraced: true) }
    }
}
