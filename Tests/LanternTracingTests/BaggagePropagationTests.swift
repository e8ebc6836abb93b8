import Testing
import Tracing

@testable import LanternTracing

@Suite("Baggage through the tracer")
struct BaggagePropagationTests {
    private func tracer(_ propagation: Propagation) -> LanternTracer {
        LanternTracer(sampler: .alwaysOn, processor: DiscardingSpanProcessor(), propagation: propagation)
    }

    private func extract(
        _ headers: [String: String], _ propagation: Propagation = Propagation(),
        into context: InstrumentationContext = .topLevel
    ) -> InstrumentationContext {
        var context = context
        self.tracer(propagation).extract(headers, into: &context, using: DictionaryCarrier())
        return context
    }

    private func headers(_ context: InstrumentationContext, _ propagation: Propagation) -> [String: String] {
        var headers: [String: String] = [:]
        self.tracer(propagation).inject(context, into: &headers, using: DictionaryCarrier())
        return headers
    }

    @Test("without an allow-list no baggage leaves, though it was read")
    func nothingLeaves() {
        let context = self.extract(["baggage": "user=ada"])
        #expect(context.baggage?.value("user") == "ada")
        #expect(self.headers(context, Propagation()).isEmpty)
    }

    @Test("only allowed keys leave")
    func allowed() {
        let context = self.extract(["baggage": "user=ada,tenant=7;p,secret=s"])
        let propagation = Propagation(allowedBaggage: ["tenant", "absent"])
        #expect(self.headers(context, propagation) == ["baggage": "tenant=7;p"])
    }

    @Test("where nothing that is there may leave, there is no header")
    func noneAllowed() {
        let context = self.extract(["baggage": "user=ada"])
        #expect(self.headers(context, Propagation(allowedBaggage: ["tenant"])).isEmpty)
    }

    @Test("baggage goes from a request through a span and its child to the next request")
    func throughSpans() throws {
        let propagation = Propagation(allowedBaggage: ["user"])
        let tracer = self.tracer(propagation)
        let server = tracer.startSpan("server", context: self.extract(["baggage": "user=Am%C3%A9lie"]), ofKind: .server)
        let client = tracer.startSpan("client", context: server.context, ofKind: .client)
        #expect(client.context.baggage?.value("user") == "Amélie")
        let headers = self.headers(client.context, propagation)
        #expect(headers["baggage"] == "user=Am%C3%A9lie")
        #expect(headers["traceparent"]?.contains(client.spanContext.spanID.description) == true)
    }

    @Test("baggage that is set inside a span goes on with what is made from there, and not with what is around it")
    func setInside() throws {
        let propagation = Propagation(allowedBaggage: ["user"])
        let tracer = self.tracer(propagation)
        let server = tracer.startSpan("server", context: .topLevel)
        var inner = server.context
        inner.baggage = Baggage(header: "user=ada")
        let client = tracer.startSpan("client", context: inner)
        #expect(self.headers(client.context, propagation)["baggage"] == "user=ada")
        #expect(self.headers(server.context, propagation)["baggage"] == nil)
    }

    @Test("baggage needs no trace")
    func alone() {
        let context = self.extract(["baggage": "user=ada"])
        #expect(context.spanContext == nil)
        let propagation = Propagation([.baggage], allowedBaggage: ["user"])
        #expect(self.headers(context, propagation) == ["baggage": "user=ada"])
    }

    @Test("a malformed traceparent does not take the baggage with it")
    func malformedTrace() {
        let context = self.extract(["traceparent": "00-0-0-00", "baggage": "user=ada"])
        #expect(context.spanContext == nil)
        #expect(context.baggage?.value("user") == "ada")
    }

    @Test("a header without one good member brings no baggage", arguments: ["", ",", "user", "user=a b"])
    func malformed(header: String) {
        #expect(self.extract(["baggage": header]).baggage == nil)
    }

    @Test("where baggage is not configured, it is neither read nor sent")
    func notConfigured() {
        let propagation = Propagation([.traceContext], allowedBaggage: ["user"])
        #expect(self.extract(["baggage": "user=ada"], propagation).baggage == nil)
        var context = InstrumentationContext.topLevel
        context.baggage = Baggage(header: "user=ada")
        #expect(self.headers(context, propagation).isEmpty)
    }
}
