import Synchronization

/// One record that is under way by itself, the short way of ``PendingSend``: one object, and no more calls that may
/// suspend than the one that does.
///
/// The object is the opaque pointer of its record, with the lowest bit set, which no slot of a ``PendingSend`` has.
final class PendingRecord: Sendable {
    private enum State {
        case open
        /// Resumed once: who takes it from here does.
        case waiting(UnsafeContinuation<KafkaProducer.Delivery, any Error>)
        case ended(Result<KafkaProducer.Delivery, any Error>)
    }

    /// Bytes of the record.
    let size: Int
    private let state = Mutex(State.open)

    init(size: Int) { self.size = size }

    /// The opaque pointer for librdkafka; keeps the object alive until ``take(_:)``.
    func retain() -> UnsafeMutableRawPointer { Unmanaged.passRetained(self).toOpaque() + 1 }

    /// Whether ``retain()`` made the opaque pointer.
    static func isOne(_ opaque: UnsafeMutableRawPointer) -> Bool { UInt(bitPattern: opaque) & 1 == 1 }

    /// The bytes of the record behind an opaque pointer that ``retain()`` made.
    static func size(_ opaque: UnsafeMutableRawPointer) -> Int {
        Unmanaged<PendingRecord>.fromOpaque(opaque - 1).takeUnretainedValue().size
    }

    /// The object behind an opaque pointer that ``retain()`` made, with the reference that it holds.
    static func take(_ opaque: UnsafeMutableRawPointer) -> PendingRecord {
        Unmanaged<PendingRecord>.fromOpaque(opaque - 1).takeRetainedValue()
    }

    /// Takes the delivery report.
    func complete(_ result: Result<KafkaProducer.Delivery, any Error>) { self.end(result)?.resume(with: result) }

    /// The task that waits, or will, does not want to: the record is still sent.
    func cancel() { self.end(.failure(CancellationError()))?.resume(throwing: CancellationError()) }

    /// Resumes the continuation with what became of the record, at once if that is known.
    func wait(_ continuation: UnsafeContinuation<KafkaProducer.Delivery, any Error>) {
        let known = self.state.withLock { state -> Result<KafkaProducer.Delivery, any Error>? in
            if case .ended(let result) = state { return result }
            state = .waiting(continuation)
            return nil
        }
        if let known { continuation.resume(with: known) }
    }

    /// The first end counts.
    private func end(
        _ result: Result<KafkaProducer.Delivery, any Error>
    ) -> UnsafeContinuation<KafkaProducer.Delivery, any Error>? {
        self.state.withLock { state in
            switch state {
            case .open:
                state = .ended(result)
                return nil
            case .waiting(let continuation):
                state = .ended(result)
                return continuation
            case .ended: return nil
            }
        }
    }
}
