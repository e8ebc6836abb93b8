import Logging
import Synchronization
import Tracing

/// Dictionaries whose keys are known before their values. A copy is filled by place, where otherwise each key would be
/// hashed, looked for and stored: that is half of what the half dozen of a log line or a span costs. Places hold as long as
/// no key is added or removed.
protocol RequestShape {
    associatedtype Value
    typealias Place = [String: Value].Index
}

extension RequestShape {
    fileprivate static func places(_ template: [String: Value]) -> (String) -> Place {
        // A key that is not in its template has the place `endIndex`, which nobody may set.
        { template.index(forKey: $0) ?? template.endIndex }
    }
}

/// The access line's metadata.
final class LineShape: RequestShape, Sendable {
    typealias Value = Logger.MetadataValue

    private let template: Logger.Metadata
    private let method, path, status, size, duration, route, address: Place
    /// Used once and to be used again: one of this size is more than the allocator keeps at hand, and making room for it
    /// took a fifth of the line's time. Where a handler has kept the line, the next one finds its dictionary shared, and
    /// copies it.
    private let spare = Mutex<[Logger.Metadata]>([])
    private static let spareLimit = 32

    init() {
        self.template = [
            "http.request.method": "", "url.path": "", "http.response.status_code": "",
            "http.response.body.size": "", "duration_ms": "", "http.route": "", "client.address": "",
        ]
        let place = Self.places(self.template)
        self.method = place("http.request.method")
        self.path = place("url.path")
        self.status = place("http.response.status_code")
        self.size = place("http.response.body.size")
        self.duration = place("duration_ms")
        self.route = place("http.route")
        self.address = place("client.address")
    }

    /// - Parameters:
    ///   - size: Bytes of the answer's body.
    ///   - duration: In nanoseconds.
    func write(
        method: String, path: String, status: Int, size: Int, duration: Int64, route: String?, address: String?,
        _ logger: Logger, _ level: Logger.Level
    ) {
        var metadata = self.spare.withLock { $0.popLast() } ?? self.template
        metadata.values[self.method] = .string(method)
        metadata.values[self.path] = .string(path)
        metadata.values[self.status] = .stringConvertible(status)
        metadata.values[self.size] = .stringConvertible(size)
        metadata.values[self.duration] = .stringConvertible(Double(duration / 1_000) / 1_000)
        metadata.values[self.route] = .string(route ?? "")
        metadata.values[self.address] = .string(address ?? "")
        guard route != nil, address != nil else {
            // Its places are void from here on.
            if route == nil { metadata["http.route"] = nil }
            if address == nil { metadata["client.address"] = nil }
            return logger.log(level: level, "request", metadata: metadata)
        }
        logger.log(level: level, "request", metadata: metadata)
        self.spare.withLock { spare in
            if spare.count < Self.spareLimit { spare.append(metadata) }
        }
    }
}

/// The attributes of a server span, without those that are rare.
struct SpanShape: RequestShape, Sendable {
    typealias Value = SpanAttribute

    static let withAgent = SpanShape(hasAgent: true)
    static let withoutAgent = SpanShape(hasAgent: false)

    let template: [String: SpanAttribute]
    let method, path, status, route, address, agent: Place

    private init(hasAgent: Bool) {
        // Without `network.protocol.name`, which the conventions ask for only where it is not "http".
        var template: [String: SpanAttribute] = [
            "http.request.method": "", "url.path": "", "url.scheme": "http", "http.response.status_code": 0,
            "http.route": "", "client.address": "",
        ]
        if hasAgent { template["user_agent.original"] = "" }
        self.template = template
        let place = Self.places(template)
        self.method = place("http.request.method")
        self.path = place("url.path")
        self.status = place("http.response.status_code")
        self.route = place("http.route")
        self.address = place("client.address")
        self.agent = place("user_agent.original")
    }
}
