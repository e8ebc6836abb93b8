@testable import LanternKafka
import Synchronization
import Testing

@Suite("The room of a producer", .timeLimit(.minutes(1)))
struct CapacityTests {
    /// Waits until somebody waits for room. Needs room for a record of no bytes.
    private func waitForWaiter(_ capacity: KafkaCapacity) async throws {
        try await wait(for: "somebody to wait") {
            // Nobody goes ahead of one who waits.
            guard capacity.tryAcquire(bytes: 0) else { return true }
            capacity.release(bytes: 0)
            return false
        }
    }

    @Test("there is room for so many records and so many bytes, and for no more")
    func bounds() {
        let records = KafkaCapacity(records: 2, bytes: 1_000)
        #expect(records.tryAcquire(bytes: 1))
        #expect(records.tryAcquire(bytes: 1))
        #expect(!records.tryAcquire(bytes: 1))
        records.release(bytes: 1)
        #expect(records.tryAcquire(bytes: 1))

        let bytes = KafkaCapacity(records: 100, bytes: 10)
        #expect(bytes.tryAcquire(bytes: 6))
        #expect(!bytes.tryAcquire(bytes: 5))
        #expect(bytes.tryAcquire(bytes: 4))
        #expect(!bytes.tryAcquire(bytes: 1))
        #expect(bytes.tryAcquire(bytes: 0))
    }

    @Test("several go together where there is room for all of them, or none does")
    func several() {
        let capacity = KafkaCapacity(records: 4, bytes: 10)
        #expect(!capacity.tryAcquire(records: 5, bytes: 0))
        #expect(!capacity.tryAcquire(records: 2, bytes: 11))
        #expect(capacity.tryAcquire(records: 3, bytes: 6))
        #expect(!capacity.tryAcquire(records: 2, bytes: 1))
        #expect(capacity.tryAcquire(bytes: 4))
        capacity.release(records: 4, bytes: 10)
        #expect(capacity.tryAcquire(records: 4, bytes: 10))
    }

    @Test("what is larger than all the room goes alone")
    func oversize() async throws {
        let capacity = KafkaCapacity(records: 10, bytes: 10)
        #expect(capacity.tryAcquire(bytes: 50))
        #expect(!capacity.tryAcquire(bytes: 0))
        capacity.release(bytes: 50)
        #expect(capacity.tryAcquire(bytes: 1))
        let large = Task { try await capacity.acquire(bytes: 50) }
        try await self.waitForWaiter(capacity)
        capacity.release(bytes: 1)
        try await large.value
        #expect(!capacity.tryAcquire(bytes: 0))
    }

    @Test("those that wait are served in turn: small ones do not overtake a large one")
    func turns() async throws {
        let capacity = KafkaCapacity(records: 100, bytes: 10)
        let served = Shared<[Int]>([])
        #expect(capacity.tryAcquire(bytes: 4))
        let large = Task {
            try await capacity.acquire(bytes: 8)
            served.withLock { $0.append(8) }
        }
        try await self.waitForWaiter(capacity)
        // There would be room for this one.
        #expect(!capacity.tryAcquire(bytes: 1))
        let small = Task {
            try await capacity.acquire(bytes: 3)
            served.withLock { $0.append(3) }
        }
        capacity.release(bytes: 4)
        try await large.value
        capacity.release(bytes: 8)
        try await small.value
        let order = served.withLock { $0 }
        #expect(order == [8, 3])
    }

    @Test("one that is cancelled takes no room, whether it waits already or not")
    func cancelled() async throws {
        let capacity = KafkaCapacity(records: 100, bytes: 10)
        for _ in 0..<200 {
            #expect(capacity.tryAcquire(bytes: 10))
            let waiting = Task { try await capacity.acquire(bytes: 10) }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            capacity.release(bytes: 10)
        }
        #expect(capacity.tryAcquire(bytes: 10))
    }

    @Test("when one that waits is cancelled, those behind it that have room go on")
    func cancelledAhead() async throws {
        let capacity = KafkaCapacity(records: 100, bytes: 10)
        #expect(capacity.tryAcquire(bytes: 5))
        let large = Task { try await capacity.acquire(bytes: 9) }
        try await self.waitForWaiter(capacity)
        let served = Shared(0)
        let begun = Shared(0)
        let small = (0..<5).map { _ in
            Task {
                begun.withLock { $0 += 1 }
                try await capacity.acquire(bytes: 1)
                served.withLock { $0 += 1 }
            }
        }
        try await wait(for: "all to ask") { begun.withLock { $0 } == 5 }
        large.cancel()
        // Nobody gives anything back meanwhile.
        try await wait(for: "those behind it", within: .seconds(5)) { served.withLock { $0 } == 5 }
        for task in small { try await task.value }
        await #expect(throws: CancellationError.self) { try await large.value }
    }

    @Test("whoever comes and goes in whatever order, the bounds hold and everybody is served or cancelled")
    func chance() async throws {
        let capacity = KafkaCapacity(records: 7, bytes: 100)
        let held = Shared((records: 0, bytes: 0))
        let faults = Shared<[String]>([])
        let tasks = (0..<400).map { number in
            Task {
                let bytes = number * 37 % 60
                for _ in 0..<20 {
                    try await capacity.acquire(bytes: bytes)
                    let now = held.withLock { held -> (records: Int, bytes: Int) in
                        held.records += 1
                        held.bytes += bytes
                        return held
                    }
                    if now.records > 7 || now.bytes > 100 { faults.withLock { $0.append("\(now)") } }
                    await Task.yield()
                    held.withLock { held in
                        held.records -= 1
                        held.bytes -= bytes
                    }
                    capacity.release(bytes: bytes)
                }
            }
        }
        for (number, task) in tasks.enumerated() where number % 5 == 0 { task.cancel() }
        var cancelled = 0
        for task in tasks {
            do { try await task.value } catch is CancellationError { cancelled += 1 }
        }
        let seen = faults.withLock { $0 }
        #expect(seen == [])
        #expect(cancelled <= 80)
        // All the room is there again.
        #expect(capacity.tryAcquire(bytes: 100))
    }
}
