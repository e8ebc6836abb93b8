import Synchronization

/// The records of one call of `send` that are under way. Each is completed by its delivery report, and the caller is
/// woken once, by the last.
///
/// The opaque pointer of a record is its slot; the object lives until the last slot is given back, also when nobody waits
/// any more.
final class PendingSend: Sendable {
    /// One record: which call it belongs to, and what became of it. Written by the thread that serves delivery reports
    /// before it counts the slot as done, read by the caller after it saw that count.
    private struct Slot {
        var owner: Unmanaged<PendingSend>
        var size: Int
        var partition: Int32 = 0
        var offset: Int64 = -1
    }

    /// The slots, freed with the object. `@unchecked Sendable` is right because slots are handed over through `state`'s
    /// lock, as said above.
    private struct Slots: @unchecked Sendable {
        let pointer: UnsafeMutablePointer<Slot>
    }

    private struct State {
        var open: Int
        var error: KafkaError?
        var errorIndex = Int.max
        var abandoned = false
        /// Resumed once: who takes it from here does.
        var waiter: UnsafeContinuation<Void, any Error>?
    }

    private let slots: Slots
    private let count: Int
    private let state: Mutex<State>
    /// Of all records together.
    let bytes: Int

    init(_ records: [KafkaRecord]) {
        self.count = records.count
        self.slots = Slots(pointer: .allocate(capacity: records.count))
        self.state = Mutex(State(open: records.count))
        var bytes = 0
        for record in records { bytes += record.size }
        self.bytes = bytes
        // Each slot names its object: librdkafka knows only the slot.
        for (index, record) in records.enumerated() {
            (self.slots.pointer + index).initialize(to: Slot(owner: .passUnretained(self), size: record.size))
        }
    }

    deinit { self.slots.pointer.deallocate() }

    /// The opaque pointer of a record that is handed to librdkafka; keeps the object alive.
    func retain(_ index: Int) -> UnsafeMutableRawPointer {
        let slot = self.slots.pointer + index
        _ = slot.pointee.owner.retain()
        return UnsafeMutableRawPointer(slot)
    }

    /// Bytes of one record.
    func size(_ index: Int) -> Int { self.slots.pointer[index].size }

    /// Gives back a pointer that librdkafka did not take.
    static func release(_ opaque: UnsafeMutableRawPointer) {
        opaque.assumingMemoryBound(to: Slot.self).pointee.owner.release()
    }

    /// The bytes of the record behind an opaque pointer that ``retain(_:)`` made.
    static func size(_ opaque: UnsafeMutableRawPointer) -> Int {
        opaque.assumingMemoryBound(to: Slot.self).pointee.size
    }

    /// Takes a delivery report.
    static func complete(
        _ opaque: UnsafeMutableRawPointer, _ result: Result<KafkaProducer.Delivery, KafkaError>
    ) {
        // The pointer that `retain` made: each record has exactly one report.
        let slot = opaque.assumingMemoryBound(to: Slot.self)
        let owner = slot.pointee.owner
        owner.takeUnretainedValue().complete(slot, result)
        // Last: it may free the slot.
        owner.release()
    }

    private func complete(_ slot: UnsafeMutablePointer<Slot>, _ result: Result<KafkaProducer.Delivery, KafkaError>) {
        let index = slot - self.slots.pointer
        if case .success(let delivery) = result {
            slot.pointee.partition = delivery.partition
            slot.pointee.offset = delivery.offset
        }
        let waiter = self.state.withLock { state -> (UnsafeContinuation<Void, any Error>, KafkaError?)? in
            if case .failure(let error) = result, index < state.errorIndex {
                state.error = error
                state.errorIndex = index
            }
            state.open -= 1
            guard state.open == 0, let waiter = state.waiter else { return nil }
            state.waiter = nil
            return (waiter, state.error)
        }
        guard let (continuation, error) = waiter else { return }
        if let error { continuation.resume(throwing: error) } else { continuation.resume() }
    }

    /// Nobody will wait: what is under way is still sent.
    func abandon() { self.state.withLock { $0.abandoned = true } }

    /// Waits for all reports.
    /// - Throws: ``KafkaError`` of the first record that failed; `CancellationError`.
    func deliveries() async throws -> [KafkaProducer.Delivery] {
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                let now = self.state.withLock { state -> Result<Void, any Error>? in
                    if state.open == 0 { return state.error.map { .failure($0) } ?? .success(()) }
                    if state.abandoned { return .failure(CancellationError()) }
                    state.waiter = continuation
                    return nil
                }
                if let now { continuation.resume(with: now) }
            }
        } onCancel: {
            self.state.withLock { state in
                state.abandoned = true
                defer { state.waiter = nil }
                return state.waiter
            }?.resume(throwing: CancellationError())
        }
        return (0..<self.count).map { index in
            let slot = self.slots.pointer[index]
            return KafkaProducer.Delivery(partition: slot.partition, offset: slot.offset)
        }
    }
}
