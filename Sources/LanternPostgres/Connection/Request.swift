import Synchronization

/// One thing that a task asks of a connection; answered once.
///
/// `@unchecked Sendable` is right because ownership moves: the task fills it, the driver's mutex hands it to the driver's
/// thread, and only that thread touches it until it resumes the continuation. ``isCancelled`` alone is shared, and atomic.
final class Request: @unchecked Sendable {
    enum Work {
        /// Statements that share one Sync: outside a transaction they are one by themselves.
        case statements([SQL])
        /// A statement whose rows are read piece by piece.
        case openStream(SQL)
        case readStream
        /// COPY, which is no part of a pipeline.
        case openCopy(SQL)
        case writeCopy([UInt8])
        case endCopy(failure: String?)
        case readCopy
        /// Ends a stream or a COPY out whose rest nobody wants; `cancels` the statement rather than reads what is left.
        case abandon(cancels: Bool)
    }

    enum Answer: Sendable {
        case results([PostgresResult])
        /// Rows, or bytes, of a stream or COPY; `isLast` where nothing follows.
        case rows([PostgresResult], isLast: Bool)
        case bytes([UInt8], isLast: Bool)
        /// How many columns a COPY has.
        case opened(columns: Int32, isIn: Bool)
    }

    /// What a connection that breaks after the request was sent means.
    enum Loss: Sendable {
        /// Nothing has happened: it was read only, or belongs to a transaction that is not committed.
        case nothing
        /// It may have taken effect.
        case unknown
    }

    struct Part {
        /// Of the statement cache.
        var entry: StatementCache.Entry?
        var isPrepare = false
    }

    var work: Work
    let loss: Loss
    /// Not part of a transaction: may run again where it is known to have had no effect.
    let isAlone: Bool
    let isCancelled = Atomic(false)

    /// Sent also where its task is cancelled before: what comes behind it relies on it.
    var mustBeSent = false
    var continuation: UnsafeContinuation<Answer, any Error>?
    /// What was sent for it, in order; how much of it is answered.
    var parts: [Part] = []
    var position = 0
    var results: [PostgresResult] = []
    var bytes: [UInt8] = []
    var error: PostgresError?
    /// The error says that the server knows the statement no longer: once more, prepared anew.
    var isStale = false
    /// How often it was sent.
    var attempts = 0
    /// Since when the driver knows that it is cancelled.
    var cancelledSince: ContinuousClock.Instant?

    init(_ work: Work, loss: Loss, isAlone: Bool) {
        self.work = work
        self.loss = loss
        self.isAlone = isAlone
    }

    /// Where an error undoes all it did: not so what commits in its middle.
    var isWhole: Bool {
        guard case .statements(let statements) = self.work else { return false }
        return statements.allSatisfy { !["CALL", "DO"].contains(StatementSummary($0.text).operation) }
    }

    /// Text of the statement whose answer comes next.
    var textOfPosition: String? {
        guard case .statements(let statements) = self.work else { return nil }
        let prepares = self.parts.prefix(self.position + 1).count { $0.isPrepare }
        let isPrepare = self.parts.indices.contains(self.position) && self.parts[self.position].isPrepare
        let index = self.position - prepares + (isPrepare ? 1 : 0)
        return statements.indices.contains(index) ? statements[index].text : nil
    }

    func answer(_ answer: Answer) {
        let continuation = self.continuation
        self.continuation = nil
        continuation?.resume(returning: answer)
    }

    func fail(_ error: any Error) {
        let continuation = self.continuation
        self.continuation = nil
        continuation?.resume(throwing: error)
    }

    /// As before it was sent.
    func reset() {
        self.parts.removeAll(keepingCapacity: true)
        self.position = 0
        self.results = []
        self.error = nil
        self.isStale = false
    }
}

/// The connection ended before the request was sent: it can go to another one.
struct NeverSent: Error {
    var cause: PostgresError
}

/// First in, first out, without moving what is left.
struct Queue<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { self.elements.count - self.head }
    var isEmpty: Bool { self.head == self.elements.count }
    var first: Element? { self.isEmpty ? nil : self.elements[self.head] }

    mutating func append(_ element: Element) { self.elements.append(element) }

    mutating func popFirst() -> Element? {
        guard !self.isEmpty else { return nil }
        let element = self.elements[self.head]
        self.elements[self.head] = nil
        self.head += 1
        if self.head == self.elements.count {
            self.elements.removeAll(keepingCapacity: true)
            self.head = 0
        } else if self.head >= 64, self.head * 2 > self.elements.count {
            self.elements.removeFirst(self.head)
            self.head = 0
        }
        return element
    }

    mutating func removeAll(where isUnwanted: (Element) -> Bool) {
        guard !self.isEmpty else { return }
        let kept = self.removeAll().filter { !isUnwanted($0) }
        self.elements = kept.map { $0 }
    }

    mutating func removeAll() -> [Element] {
        defer {
            self.elements = []
            self.head = 0
        }
        return self.elements[self.head...].compactMap { $0 }
    }
}
