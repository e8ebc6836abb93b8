import Synchronization

/// What a ``KafkaWorker`` has handed out, and how far its partitions are.
final class WorkerProgress: Sendable {
    private struct Partition {
        var assignment: Int
        var tracker: OffsetTracker?
    }

    private struct State {
        var partitions: [KafkaPartition: Partition] = [:]
        var assignments = 0
        var inFlight = 0
        /// Lanes that have not ended.
        var lanes = 0
        var failure: (any Error)?
        var waiters: [Int: (condition: @Sendable (State) -> Bool, continuation: CheckedContinuation<Void, Never>)] = [:]
        var nextWaiter = 0

        func inFlight(of partitions: [KafkaPartition]) -> Int {
            partitions.reduce(0) { $0 + (self.partitions[$1]?.tracker?.inFlight ?? 0) }
        }
    }

    private let state = Mutex(State())

    var partitions: [KafkaPartition] { self.state.withLock { Array($0.partitions.keys) } }
    var inFlight: Int { self.state.withLock { $0.inFlight } }
    var failure: (any Error)? { self.state.withLock { $0.failure } }
    var lanes: Int { self.state.withLock { $0.lanes } }

    func laneStarted() { self.change { $0.lanes += 1 } }

    func laneEnded() { self.change { $0.lanes -= 1 } }

    func assigned(_ partitions: [KafkaPartition]) {
        self.state.withLock { state in
            state.assignments += 1
            for partition in partitions { state.partitions[partition] = Partition(assignment: state.assignments) }
        }
    }

    func removed(_ partitions: [KafkaPartition]) {
        self.change { state in
            for partition in partitions {
                state.inFlight -= state.partitions.removeValue(forKey: partition)?.tracker?.inFlight ?? 0
            }
        }
    }

    /// - Returns: Which assignment of the partition this belongs to; `nil` where it is not ours, or in hand already.
    func started(_ partition: KafkaPartition, _ offset: Int64) -> Int? {
        self.state.withLock { state in
            guard state.partitions[partition] != nil else { return nil }
            if state.partitions[partition]?.tracker == nil {
                state.partitions[partition]?.tracker = OffsetTracker(next: offset)
            }
            guard state.partitions[partition]?.tracker?.started(offset) == true else { return nil }
            state.inFlight += 1
            return state.partitions[partition]?.assignment
        }
    }

    func isCurrent(_ partition: KafkaPartition, _ assignment: Int) -> Bool {
        self.state.withLock { $0.partitions[partition]?.assignment == assignment }
    }

    /// - Parameter commit: Takes the offset that can be committed, where it moved: within the lock, so that of two handlers
    ///   that end at once the later offset is said last.
    func finished(
        _ partition: KafkaPartition, _ assignment: Int, _ offset: Int64, commit: (Int64) -> Void
    ) {
        self.change { state in
            guard state.partitions[partition]?.assignment == assignment else { return }
            state.inFlight -= 1
            if state.partitions[partition]?.tracker?.finished(offset) == true,
                let next = state.partitions[partition]?.tracker?.next
            {
                commit(next)
            }
        }
    }

    func fail(_ error: any Error) {
        self.change { state in
            if state.failure == nil { state.failure = error }
        }
    }

    func inFlight(of partitions: [KafkaPartition]) -> Int { self.state.withLock { $0.inFlight(of: partitions) } }

    /// How far each of these partitions is, of those that anything was read of.
    func offsets(of partitions: [KafkaPartition]) -> [KafkaPartition: Int64] {
        self.state.withLock { state in
            var offsets: [KafkaPartition: Int64] = [:]
            for partition in partitions { offsets[partition] = state.partitions[partition]?.tracker?.next }
            return offsets
        }
    }

    /// Waits until fewer than `limit` records are in flight, a handler failed, or the task is cancelled.
    func whenBelow(_ limit: Int) async { await self.wait { $0.inFlight < limit || $0.failure != nil } }

    /// Waits until nothing of these partitions is in flight, a handler failed, or the task is cancelled.
    func whenIdle(_ partitions: [KafkaPartition]) async {
        await self.wait { $0.inFlight(of: partitions) == 0 || $0.failure != nil }
    }

    /// Waits until no lane is at work, or the task is cancelled.
    func whenLanesEnded() async { await self.wait { $0.lanes == 0 } }

    /// Waits until a handler failed, or the task is cancelled.
    func whenFailed() async { await self.wait { $0.failure != nil } }

    private func wait(_ condition: @escaping @Sendable (State) -> Bool) async {
        let id = self.state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = self.state.withLock { state in
                    if Task.isCancelled || condition(state) { return true }
                    state.waiters[id] = (condition, continuation)
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            self.state.withLock { $0.waiters.removeValue(forKey: id) }?.continuation.resume()
        }
    }

    private func change(_ body: (inout State) -> Void) {
        let ready = self.state.withLock { state in
            body(&state)
            guard !state.waiters.isEmpty else { return [CheckedContinuation<Void, Never>]() }
            let now = state
            let ready = state.waiters.filter { $0.value.condition(now) }
            for id in ready.keys { state.waiters.removeValue(forKey: id) }
            return ready.values.map(\.continuation)
        }
        for continuation in ready { continuation.resume() }
    }
}
