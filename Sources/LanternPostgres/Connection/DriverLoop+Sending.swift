import CLibPQ
import Synchronization

extension DriverLoop {
    /// Sends what may be sent now; answers an error where the connection is broken.
    func sendWaiting() -> PostgresError? {
        while let request = self.waiting.first {
            if !request.work.belongsToWhatIsOpen, self.mode.isOpen {
                // It would wait for what its own task holds open.
                _ = self.waiting.popFirst()
                request.fail(
                    PostgresError(
                        code: .wrongMethod, message: "a stream or COPY is open on this connection: end it first"))
                continue
            }
            guard self.maySend(request) else { return nil }
            _ = self.waiting.popFirst()
            if request.isDroppable {
                request.fail(PostgresError.cancelledByTask)
                continue
            }
            self.beginHead()
            self.inFlight.append(request)
            request.attempts += 1
            guard self.send(request) else { return self.broken() }
        }
        return nil
    }

    /// Whether something that waits can be sent now.
    var hasSendable: Bool { self.waiting.first.map { self.maySend($0) } ?? false }

    private func maySend(_ request: Request) -> Bool {
        if self.cancelling.isUnderWay { return request.work.belongsToWhatIsOpen }
        switch request.work {
        case .statements: return self.mode == .pipeline
        // COPY wants the connection for itself, and libpq leaves pipeline mode only where nothing is under way.
        case .openStream, .openCopy: return self.mode == .pipeline && self.inFlight.isEmpty
        case .readStream, .writeCopy, .endCopy, .readCopy, .abandon: return self.inFlight.isEmpty
        }
    }

    func send(_ request: Request) -> Bool {
        switch request.work {
        case .statements(let statements):
            for statement in statements {
                guard self.send(statement, for: request) else { return false }
            }
            guard PQpipelineSync(self.connection) == 1 else { return false }
            return !request.isAlone || self.evict()
        case .openStream(let statement):
            // Never prepared: rows that were handed over could not be taken back where it turns out to be stale.
            guard self.sendText(statement), PQsetSingleRowMode(self.connection) == 1,
                PQpipelineSync(self.connection) == 1
            else { return false }
            self.mode = .stream
            self.openText = statement.text
            self.streamError = nil
            self.isReading = false
            self.finishHead(.opened(columns: 0, isIn: false))
            return true
        case .openCopy(let statement):
            guard PQexitPipelineMode(self.connection) == 1,
                PQsendQueryParams(self.connection, statement.text, 0, nil, nil, nil, nil, 0) == 1
            else {
                return false
            }
            self.mode = .openingCopy
            self.openText = statement.text
            return true
        case .readStream, .readCopy, .abandon:
            self.isReading = true
            self.beginReading(request)
            return true
        case .writeCopy, .endCopy:
            return true
        }
    }

    /// Sends one statement, prepared where it has come before.
    private func send(_ statement: SQL, for request: Request) -> Bool {
        // Once more after an error goes unprepared, which tells the true reason.
        guard request.attempts < 3, let (entry, isNew) = self.cache.entry(for: statement) else {
            request.parts.append(Request.Part())
            return self.sendText(statement)
        }
        if isNew {
            request.parts.append(Request.Part(entry: entry))
            return self.sendText(statement)
        }
        let name: String
        if let known = entry.name {
            name = known
        } else {
            name = self.cache.nextName()
            entry.name = name
            request.parts.append(Request.Part(entry: entry, isPrepare: true))
            let types = entry.types.map { Oid($0) }
            guard PQsendPrepare(self.connection, name, statement.text, Int32(types.count), types) == 1 else {
                return false
            }
        }
        request.parts.append(Request.Part(entry: entry))
        return self.scratch.send(statement.parameters) { parameters in
            PQsendQueryPrepared(
                self.connection, name, parameters.count, parameters.values, parameters.lengths, parameters.formats,
                entry.isBinary ? 1 : 0
            ) == 1
        }
    }

    /// Unprepared, in text format.
    private func sendText(_ statement: SQL) -> Bool {
        self.scratch.send(statement.parameters) { parameters in
            PQsendQueryParams(
                self.connection, statement.text, parameters.count, parameters.types, parameters.values,
                parameters.lengths, parameters.formats, 0
            ) == 1
        }
    }

    /// Makes room on the server for what was prepared. Under a Sync of its own: nobody's statement fails where this does.
    func evict() -> Bool {
        while let name = self.cache.evict() {
            let request = Request(.statements([]), loss: .nothing, isAlone: true)
            request.parts.append(Request.Part())
            request.attempts = 3
            self.inFlight.append(request)
            guard PQsendQueryParams(self.connection, "DEALLOCATE \"\(name)\"", 0, nil, nil, nil, nil, 0) == 1,
                PQpipelineSync(self.connection) == 1
            else { return false }
        }
        return true
    }

    /// Work on a COPY that goes on while there is room in libpq's buffer.
    func progress(flushed: Bool) {
        guard let head = self.inFlight.first else { return }
        switch (head.work, self.mode) {
        case (.writeCopy(let bytes), .copyIn):
            if head.position == 0 {
                let status = bytes.withUnsafeBytes { bytes in
                    PQputCopyData(
                        self.connection, bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                        Int32(clamping: bytes.count))
                }
                if status == 0 { return }
                head.position = 1
                if status < 0 { return self.finishHead(failing: self.broken()) }
                // What it appended is written before the next is asked for, so that the buffer does not grow.
                if PQflush(self.connection) == 0 { self.finishHead(.opened(columns: 0, isIn: true)) }
            } else if flushed {
                self.finishHead(.opened(columns: 0, isIn: true))
            }
        case (.endCopy(let failure), .copyIn):
            if PQputCopyEnd(self.connection, failure) == 1 {
                self.mode = .endingCopy
                _ = PQflush(self.connection)
                self.receive()
            }
        case (.endCopy, .pipeline):
            // The COPY had failed before.
            self.finishHead(.results([]))
        case (.readStream, .pipeline) where self.streamError != nil:
            let error = self.streamError
            self.streamError = nil
            if let error { self.finishHead(failing: error) }
        case (.writeCopy, _), (.readCopy, .pipeline), (.readStream, .pipeline):
            self.finishHead(failing: PostgresError(code: .server, message: "the COPY or the stream has ended"))
        case (.abandon, .pipeline):
            let isWhole = self.streamError == nil
            self.streamError = nil
            self.finishHead(.rows([], isLast: isWhole))
        default:
            break
        }
    }
}

extension DriverLoop.Mode {
    /// The task that uses the connection holds something open on it.
    fileprivate var isOpen: Bool {
        switch self {
        case .stream, .copyIn, .copyOut: true
        case .pipeline, .openingCopy, .endingCopy: false
        }
    }
}

extension Request {
    /// Its task is cancelled, and nobody relies on it.
    var isDroppable: Bool {
        self.isCancelled.load(ordering: .relaxed) && !self.mustBeSent && !self.work.endsSomething
    }
}

extension Request.Work {
    /// Must be done also where the task is cancelled, or the connection would be left in doubt.
    var endsSomething: Bool {
        switch self {
        case .endCopy, .abandon: true
        case .statements, .openStream, .readStream, .openCopy, .writeCopy, .readCopy: false
        }
    }

    /// Goes on with what is open already.
    fileprivate var belongsToWhatIsOpen: Bool {
        switch self {
        case .readStream, .writeCopy, .endCopy, .readCopy, .abandon: true
        case .statements, .openStream, .openCopy: false
        }
    }
}

/// The arrays that libpq wants for the parameters of a statement, used again for each.
struct ParameterScratch {
    struct Pointers {
        var count: Int32
        var types: UnsafePointer<Oid>?
        var values: UnsafePointer<UnsafePointer<CChar>?>?
        var lengths: UnsafePointer<Int32>?
        var formats: UnsafePointer<Int32>?
    }

    private var types: [Oid] = []
    private var values: [UnsafePointer<CChar>?] = []
    private var lengths: [Int32] = []
    private var formats: [Int32] = []

    /// Calls `body` with pointers that are good until it returns; libpq copies everything before that.
    mutating func send(_ parameters: SQLParameters, _ body: (Pointers) -> Bool) -> Bool {
        guard parameters.count > 0 else {
            return body(Pointers(count: 0, types: nil, values: nil, lengths: nil, formats: nil))
        }
        self.types.removeAll(keepingCapacity: true)
        self.values.removeAll(keepingCapacity: true)
        self.lengths.removeAll(keepingCapacity: true)
        self.formats.removeAll(keepingCapacity: true)
        return parameters.buffer.bytes.withUnsafeBytes { bytes in
            for item in parameters.items {
                self.types.append(Oid(item.type))
                self.lengths.append(max(0, item.length))
                self.formats.append(item.format.rawValue)
                // A value without bytes has an address as well: no address is NULL.
                let start = bytes.baseAddress.map { $0 + Int(item.start) } ?? UnsafeRawPointer(bitPattern: 1)
                self.values.append(item.length < 0 ? nil : start?.assumingMemoryBound(to: CChar.self))
            }
            return self.types.withUnsafeBufferPointer { types in
                self.values.withUnsafeBufferPointer { values in
                    self.lengths.withUnsafeBufferPointer { lengths in
                        self.formats.withUnsafeBufferPointer { formats in
                            body(
                                Pointers(
                                    count: Int32(clamping: parameters.count), types: types.baseAddress,
                                    values: values.baseAddress, lengths: lengths.baseAddress,
                                    formats: formats.baseAddress
                                )
                            )
                        }
                    }
                }
            }
        }
    }

}
