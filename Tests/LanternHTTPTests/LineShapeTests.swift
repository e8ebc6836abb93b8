import Logging
import Synchronization
import Testing

@testable import LanternHTTP

/// Keeps what it is given, as a handler may that writes later.
private struct KeepingHandler: LogHandler {
    final class Kept: Sendable {
        let lines = Mutex<[Logger.Metadata]>([])
    }

    let kept: Kept
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) { self.kept.lines.withLock { $0.append(event.metadata ?? [:]) } }
}

@Suite("The metadata of access lines")
struct LineShapeTests {
    private let kept = KeepingHandler.Kept()
    private let shape = LineShape()

    private func write(_ number: Int, route: String?, address: String?) {
        let logger = Logger(label: "http") { [kept] _ in KeepingHandler(kept: kept) }
        self.shape.write(
            method: "GET", path: "/v1/orders/\(number)", status: 200 + number, size: number, duration: 1_234_567,
            route: route, address: address, logger, .info
        )
    }

    private func expected(_ number: Int, route: String?, address: String?) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "http.request.method": "GET", "url.path": "/v1/orders/\(number)",
            "http.response.status_code": .stringConvertible(200 + number),
            "http.response.body.size": .stringConvertible(number), "duration_ms": .stringConvertible(1.234),
        ]
        metadata["http.route"] = route.map { .string($0) }
        metadata["client.address"] = address.map { .string($0) }
        return metadata
    }

    @Test("lines that are kept are not changed by those that come after them")
    func keptLines() {
        for number in 0..<100 { self.write(number, route: "/v1/orders/{id}", address: "10.0.0.\(number)") }
        let lines = self.kept.lines.withLock { $0 }
        #expect(lines.count == 100)
        for (number, line) in lines.enumerated() {
            #expect(line == self.expected(number, route: "/v1/orders/{id}", address: "10.0.0.\(number)"))
        }
    }

    @Test("what is not known is not there, and comes back with the next line that knows it")
    func absent() {
        let known: [(String?, String?)] = [("/a", "::1"), (nil, "::1"), ("/b", nil), (nil, nil), ("/c", "10.0.0.1")]
        for (number, (route, address)) in known.enumerated() { self.write(number, route: route, address: address) }
        let lines = self.kept.lines.withLock { $0 }
        #expect(lines.count == known.count)
        for (number, line) in lines.enumerated() {
            #expect(line == self.expected(number, route: known[number].0, address: known[number].1))
        }
    }

    @Test("lines of many threads at once keep their own values")
    func manyThreads() async {
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for step in 0..<200 {
                        let number = task * 1_000 + step
                        self.write(number, route: "/r/\(number)", address: "a\(number)")
                    }
                }
            }
        }
        let lines = self.kept.lines.withLock { $0 }
        #expect(lines.count == 1_600)
        for line in lines {
            guard case .string(let path)? = line["url.path"], let number = Int(path.dropFirst("/v1/orders/".count))
            else {
                Issue.record("\(line)")
                continue
            }
            #expect(line == self.expected(number, route: "/r/\(number)", address: "a\(number)"))
        }
    }
}
