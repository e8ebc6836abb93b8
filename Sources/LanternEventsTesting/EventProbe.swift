public import LanternEvents
import LanternKafka

import Logging
import Synchronization

/// Watches a service's topic in a test, and expects events on it.
///
/// ```swift
/// let transport = InProcessTransport()
/// let probe = try await EventProbe(transport, topic: "order.events.v1")
/// let placed = try await probe.expectEvent(OrderPlaced.self) {
///     try await client.placeOrder()
/// }
/// #expect(placed.data.total == 4_900)
/// ```
///
/// Sees what is published from its start on. Safe from any task; close it at the end.
public final class EventProbe: Sendable {
    /// An event that was seen.
    public struct Seen<Event: DomainEvent>: Sendable {
        public var data: Event
        public var envelope: EventEnvelope
    }

    private let reader: any EventReader
    private let topic: String
    private let seen = Mutex<[EventEnvelope]>([])
    private let task: Task<Void, Never>
    /// Of one topic in one test; what comes later is not kept.
    private static let maximum = 100_000

    /// - Throws: Where the topic cannot be read.
    public init(_ transport: any EventTransport, topic: String) async throws {
        let reader = try await transport.makeReader(of: topic, "probe", logger: Logger(label: "probe"))
        self.reader = reader
        self.topic = topic
        let box = Box()
        self.task = Task {
            while !Task.isCancelled {
                guard let event = try? await reader.next(maximum: 500, maximumBytes: 8 << 20) else { return }
                guard case .records(let records) = event else { continue }
                box.probe?.take(records.compactMap { try? CloudEvents.event($0) })
            }
        }
        box.set(self)
    }

    /// The task must not keep the probe alive, and begins before there is one.
    private final class Box: Sendable {
        private let weakly = Mutex<WeakProbe>(WeakProbe())
        var probe: EventProbe? { self.weakly.withLock { $0.probe } }
        func set(_ probe: EventProbe) { self.weakly.withLock { $0.probe = probe } }
    }

    private struct WeakProbe { weak var probe: EventProbe? }

    private func take(_ events: [EventEnvelope]) {
        self.seen.withLock { seen in
            seen += events.prefix(max(0, Self.maximum - seen.count)).filter { !$0.type.hasPrefix("lantern.") }
        }
    }

    /// What was seen so far, in the order it came.
    public var events: [EventEnvelope] { self.seen.withLock { $0 } }

    /// Does something and waits for an event of it.
    /// - Parameters:
    ///   - limit: How long to wait after `action`.
    ///   - condition: Of several of the type, the first that fits.
    ///   - action: Only events that are seen after its start count.
    /// - Throws: ``EventExpectationFailure``, what `action` throws, `DecodingError` where the data is not the type's.
    public func expectEvent<Event: DomainEvent>(
        _ type: Event.Type, within limit: Duration = .seconds(10), where condition: (Event) -> Bool = { _ in true },
        _ action: () async throws -> Void = {}
    ) async throws -> Seen<Event> {
        let start = self.events.count
        try await action()
        let end = ContinuousClock.now + limit
        while true {
            let new = self.events.dropFirst(start)
            for envelope in new where EventType(parsing: envelope.type).action == Event.type.action {
                let data = try Event.decode(envelope.data, of: EventType(parsing: envelope.type))
                if condition(data) { return Seen(data: data, envelope: envelope) }
            }
            guard ContinuousClock.now < end else {
                throw EventExpectationFailure(
                    expected: Event.type.description, topic: self.topic, seen: new.map(\.type))
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    public func close() async {
        self.task.cancel()
        await self.task.value
        await self.reader.close()
    }
}

/// An event that was expected did not come.
public struct EventExpectationFailure: Error, CustomStringConvertible {
    public var expected: String
    public var topic: String
    /// Types that came instead.
    public var seen: [String]

    public var description: String {
        "no \(self.expected) that fits came on \(self.topic); "
            + (self.seen.isEmpty ? "nothing came" : "seen: \(self.seen.joined(separator: ", "))")
    }
}
