import CLanternSystem
import CRDKafka
import Glibc
import Logging
import Synchronization

/// A `rd_kafka_t` with its log lines sent to swift-log.
///
/// `@unchecked Sendable` is right because librdkafka's calls on a handle may come from any thread, and because nobody can
/// call on one that is freed: the thread that polls, or who polls in its place while it waits, uses ``raw``; the thread frees
/// it with ``destroy()``, its last call; all others go through ``use(_:)``, which ``destroy()`` waits for.
final class KafkaHandle: @unchecked Sendable {
    let raw: OpaquePointer
    /// Twice the number of users, and one more once nobody may become one.
    private let lifetime = Atomic<Int>(0)
    private let callbacks: Unmanaged<KafkaCallbacks>

    /// Takes ownership of `configuration`.
    /// - Parameter callbacks: What C callbacks find behind the handle's opaque pointer; kept until ``destroy()``.
    init(_ type: rd_kafka_type_t, configuration: OpaquePointer, callbacks: KafkaCallbacks) throws {
        let retained = Unmanaged.passRetained(callbacks)
        rd_kafka_conf_set_opaque(configuration, retained.toOpaque())
        rd_kafka_conf_set_log_cb(configuration) { handle, level, facility, message in
            guard let handle, let opaque = rd_kafka_opaque(handle), let message else { return }
            let logger = Unmanaged<KafkaCallbacks>.fromOpaque(opaque).takeUnretainedValue().logger
            let facility = facility.map { String(cString: $0) } ?? ""
            logger.log(
                level: KafkaHandle.level(syslog: level, facility: facility), "librdkafka: \(String(cString: message))",
                metadata: ["facility": "\(facility)"]
            )
        }
        var reason = [CChar](repeating: 0, count: 512)
        guard let raw = rd_kafka_new(type, configuration, &reason, reason.count) else {
            rd_kafka_conf_destroy(configuration)
            retained.release()
            let text = String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw KafkaError(code: .configuration, message: text)
        }
        self.raw = raw
        self.callbacks = retained
    }

    /// Calls on the handle from another thread than the one that polls; `nil` where it is freed already.
    func use<Value>(_ body: (OpaquePointer) throws -> Value) rethrows -> Value? {
        let before = self.lifetime.wrappingAdd(2, ordering: .acquiring).oldValue
        defer { self.lifetime.wrappingSubtract(2, ordering: .releasing) }
        return before & 1 == 0 ? try body(self.raw) : nil
    }

    /// Keeps the handle for somebody who is given something of it. For the polling thread, which alone frees the handle, and
    /// for who polls in its place.
    func lend() { self.lifetime.wrappingAdd(2, ordering: .acquiring) }

    /// Undoes ``lend()``.
    func giveBack() { self.lifetime.wrappingSubtract(2, ordering: .releasing) }

    /// From here on nobody becomes a user. For the polling thread.
    /// - Returns: Whether nobody is one any more.
    func shut() -> Bool {
        self.lifetime.bitwiseOr(1, ordering: .acquiringAndReleasing)
        return self.lifetime.load(ordering: .acquiring) == 1
    }

    /// Frees everything, once nobody uses it any more. The calls in use are short, or have a time limit of their own.
    /// - Parameter last: Frees what belongs to the handle, when nobody uses it any more.
    func destroy(after last: () -> Void = {}) {
        self.lifetime.bitwiseOr(1, ordering: .acquiringAndReleasing)
        while self.lifetime.load(ordering: .acquiring) != 1 { usleep(1_000) }
        last()
        rd_kafka_destroy(self.raw)
        self.callbacks.release()
    }

    /// Runs a call that blocks on a thread of its own, because a thread of the concurrency pool must not block.
    /// - Throws: What `body` throws; ``KafkaError`` with code `closed` where the handle is freed already.
    func blocking<Value: Sendable>(
        _ name: String, _ body: @escaping @Sendable (OpaquePointer) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try startKafkaThread(name) {
                    let result = self.use { handle in Result { try body(handle) } }
                    continuation.resume(
                        with: result ?? .failure(KafkaError(code: .closed, message: "the client is closed")))
                }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// A property of the other kind of client (CONFWARN) is normal where one environment serves both; a broker that is
    /// away is told once by readiness and metrics, and not by each attempt (FAIL, ERROR).
    private static func level(syslog level: Int32, facility: String) -> Logger.Level {
        if facility == "CONFWARN" || facility == "FAIL" || facility == "ERROR" { return .debug }
        switch level {
        case ...3: return .error
        case 4: return .warning
        case 5, 6: return .info
        default: return .debug
        }
    }
}

/// What C callbacks of a client need.
final class KafkaCallbacks: Sendable {
    let logger: Logger
    let rebalancing = Mutex(KafkaRebalancing())
    /// Whether `rebalancing` holds changes. Written and read only by who polls, which is one thread at a time and asks for
    /// each share of records.
    let hasChanges = Atomic<Bool>(false)
    /// Takes librdkafka's statistics; set once, before anything is polled.
    let onStatistics = Mutex<(@Sendable (KafkaStatistics) -> Void)?>(nil)

    init(logger: Logger) { self.logger = logger }
}

/// Starts a thread that runs `body` once.
func startKafkaThread(_ name: String, _ body: @escaping @Sendable () -> Void) throws {
    let context = Unmanaged.passRetained(ThreadBody(body: body))
    let status = lantern_thread_start(
        name,
        { context in
            guard let context else { return }
            // The one reference that was retained above.
            Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
        },
        context.toOpaque()
    )
    if status != 0 {
        context.release()
        throw KafkaError(code: .other, message: "no thread: error \(status)")
    }
}

private final class ThreadBody: Sendable {
    let body: @Sendable () -> Void
    init(body: @escaping @Sendable () -> Void) { self.body = body }
}
