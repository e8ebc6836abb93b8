import Foundation
import LanternLogging
import LanternTracing
import Logging
import Testing
import Tracing

/// The search for secrets itself: a search that finds nothing proves nothing.
@Suite("The search for marked secrets")
struct CanariesTests {
    private let canaries = Canaries()

    private func origins(_ text: String) -> [String] { self.canaries.found(in: text).map(\.origin) }

    @Test("a secret is found wherever it stands in a text, and is told from others")
    func plain() {
        let first = self.canaries.plant("first")
        let second = self.canaries.plant("second")
        #expect(self.origins(first) == ["first"])
        #expect(self.origins("a \(second), b") == ["second"])
        #expect(self.origins("\(second)\(first)\(second)") == ["second", "first", "second"])
        #expect(self.origins("{\"x\":\"\u{301}\(first)\u{301}\"}") == ["first"])
        #expect(self.origins("").isEmpty)
        #expect(self.origins("canary canary0 n0z").isEmpty)
        #expect(self.origins(String(first.dropFirst())).isEmpty)
    }

    @Test("the tenth is not the first")
    func numbers() {
        let texts = (0...12).map { self.canaries.plant("\($0)") }
        for (number, text) in texts.enumerated() { #expect(self.origins("x\(text)9") == ["\(number)"]) }
    }

    @Test("one that was cut is found as a piece")
    func cut() {
        let text = self.canaries.plant("whole")
        #expect(self.origins(String(text.dropLast(2))) == ["a piece of one"])
    }

    @Test(
        "it is found in base64, wherever it begins in that, and in hexadecimal",
        arguments: ["", "a", "ab", "abc", "user:", "{\"sub\":\""])
    func encoded(before: String) {
        let text = self.canaries.plant("it")
        for after in ["", "x", "xy", "\"}"] {
            let base64 = Data("\(before)\(text)\(after)".utf8).base64EncodedString()
            #expect(self.origins("Basic \(base64)") == ["it"])
            let url = base64.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
            #expect(self.origins("Bearer e30.\(url).e30") == ["it"])
        }
        let hexadecimal = Array("\(before)\(text)".utf8).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        #expect(self.origins("\\x\(hexadecimal)") == ["it"])
    }

    @Test("of a token that is watched the claims and the signature are found as well, its header is not")
    func token() {
        let watched = self.canaries.watch(token: "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "the token")
        #expect(watched.count == 3)
        #expect(self.origins("…c2lnbmF0dXJl…") == ["part of the token"])
        #expect(self.origins("eyJzdWIiOiJ4In0") == ["part of the token"])
        #expect(self.origins("eyJhbGciOiJFUzI1NiJ9").isEmpty)
        #expect(self.canaries.watch(token: "opaque", "refresh") == ["opaque"])
        #expect(self.origins("an opaque one") == ["refresh"])
    }

    @Test("a place tolerates what is its, and what its reader owns, and nothing else")
    func tolerance() {
        let path = self.canaries.plant("path", .path)
        let agent = self.canaries.plant("agent", .userAgent)
        let secret = self.canaries.plant("secret")
        let all = "\(path) \(agent) \(secret)"
        #expect(
            Place(name: "p", text: all, tolerates: .path).findings(self.canaries)
                == ["agent: in p", "secret: in p"])
        #expect(
            Place(name: "p", text: all, tolerates: .userAgent, owned: [secret]).findings(self.canaries)
                == ["path: in p"])
        #expect(Place(name: "p", text: all).findings(self.canaries).count == 3)
    }

    @Test("a log line is looked through to its last member, and its path may show a path only")
    func log() {
        let path = self.canaries.plant("path", .path)
        let secret = self.canaries.plant("secret")
        let sink = MemorySink()
        let output = LogOutput(service: "test", format: .json, sink: sink)
        let logger = Logger(label: "test") { LanternLogHandler(label: $0, output: output) }
        logger.info("request", metadata: ["url.path": "/\(path)", "other": "\(path)"])
        logger.info(
            "\(secret)",
            metadata: ["url.path": "/\(secret)", "list": ["\(secret)"], "map": ["\(secret)": "x"]]
        )
        logger.info("nothing", metadata: ["password": "\(secret)"])
        let findings = SecretPlaces.log(of: "test", sink.lines, self.canaries).flatMap { $0.findings(self.canaries) }
        #expect(
            Set(findings.map { $0.prefix { $0 != "\"" } }) == [
                "path: in log of test, other of ", "secret: in log of test, message of ",
                "secret: in log of test, url.path of ", "secret: in log of test, list of ",
                "secret: in log of test, a name in map of ",
            ])
        #expect(SecretPlaces.log(of: "test", ["{cut \(secret)"], self.canaries).count == 1)
    }

    @Test("a span is looked through to its last link, and shows a path and a user agent in their attributes only")
    func span() {
        let path = self.canaries.plant("path", .path)
        let agent = self.canaries.plant("agent", .userAgent)
        let secret = self.canaries.plant("secret")
        let processor = InMemorySpanProcessor()
        let tracer = LanternTracer(sampler: .alwaysOn, processor: processor)
        func findings(_ change: (LanternSpan) -> Void) -> Set<String> {
            let span = tracer.startSpan("work", context: .topLevel)
            change(span)
            span.end()
            let last = processor.spans.suffix(1)
            return Set(
                SecretPlaces.spans(of: "test", Array(last), self.canaries).flatMap { $0.findings(self.canaries) }
                    .map { String($0.prefix { $0 != ":" }) }
            )
        }
        #expect(
            findings { span in
                span.attributes["url.path"] = "/\(path)"
                span.attributes["user_agent.original"] = "\(agent)"
            }.isEmpty)
        #expect(findings { $0.attributes["url.full"] = "/\(path)" } == ["path"])
        #expect(findings { $0.attributes["user_agent.original"] = "\(path)" } == ["path"])
        #expect(findings { $0.attributes["url.path"] = "/\(secret)" } == ["secret"])
        #expect(findings { $0.attributes["list"] = ["\(secret)"] } == ["secret"])
        #expect(findings { $0.operationName = "GET /\(secret)" } == ["secret"])
        #expect(findings { $0.setStatus(SpanStatus(code: .error, message: secret)) } == ["secret"])
        #expect(findings { $0.addEvent(SpanEvent(name: secret)) } == ["secret"])
        #expect(findings { $0.addEvent(SpanEvent(name: "e", attributes: ["a": "\(secret)"])) } == ["secret"])
        #expect(
            findings { $0.addLink(SpanLink(context: .topLevel, attributes: ["a": "\(secret)"])) } == ["secret"])
        #expect(findings { _ in }.isEmpty)
    }
}
