import CLibPQ
import Synchronization

extension DriverLoop {
    /// Rows or bytes that are handed to a reader at once.
    private static let pieceRows = 256
    private static let pieceBytes = 1 << 16

    /// Hands over every answer that is complete.
    func receive() {
        switch self.mode {
        case .pipeline: self.receiveResults()
        case .stream: self.receiveRows()
        case .openingCopy: self.receiveOpening()
        case .copyOut: self.receiveCopy()
        case .endingCopy: self.receiveEnd()
        case .copyIn: break
        }
    }

    func finishHead(_ answer: Request.Answer) {
        let request = self.popHead()
        request?.answer(answer)
        self.headChanged()
    }

    func finishHead(failing error: any Error) {
        let request = self.popHead()
        request?.fail(error)
        self.headChanged()
    }

    private func popHead() -> Request? {
        self.isStarting = false
        let request = self.inFlight.popFirst()
        self.headSince = .now
        self.driver.pace.answered(hasMore: !self.inFlight.isEmpty)
        return request
    }

    private func headChanged() {
        if self.cancelling.isUnderWay || self.inFlight.first?.isCancelled.load(ordering: .relaxed) == true {
            self.considerCancelling()
        }
    }

    private func receiveResults() {
        var separators = 0
        while let head = self.inFlight.first, PQisBusy(self.connection) == 0 {
            guard let raw = PQgetResult(self.connection) else {
                // One NULL separates the answers of two statements; two in a row mean that nothing more is here.
                separators += 1
                if separators > 1 { return }
                continue
            }
            separators = 0
            switch PQresultStatus(raw) {
            case PGRES_PIPELINE_SYNC:
                PQclear(raw)
                self.synced(head)
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                self.received(PostgresResult(raw: raw), for: head)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                // Not to be had in a pipeline, and libpq does not come out of it.
                PQclear(raw)
                let error = PostgresError(
                    code: .wrongMethod, message: "COPY is not run as a query: use copyIn or copyOut")
                self.failure = PostgresError(code: .connectionLost, message: "a COPY was begun within a pipeline")
                return self.finishHead(failing: error)
            case PGRES_PIPELINE_ABORTED:
                PQclear(raw)
                if head.parts.indices.contains(head.position), head.parts[head.position].isPrepare,
                    let entry = head.parts[head.position].entry
                {
                    // It was not prepared after all.
                    self.cache.remove(entry)
                }
                head.position += 1
            default:
                self.failed(raw, head)
            }
        }
    }

    private func received(_ result: PostgresResult, for request: Request) {
        defer { request.position += 1 }
        guard request.parts.indices.contains(request.position) else { return }
        let part = request.parts[request.position]
        guard !part.isPrepare else { return }
        // Of a prepared one only, whose columns cannot become others unnoticed.
        if let entry = part.entry, entry.name != nil, !entry.isBinary, result.columnCount > 0, result.isKnownInBinary {
            entry.isBinary = true
        }
        request.results.append(result)
    }

    private func failed(_ raw: OpaquePointer, _ request: Request) {
        let error = PostgresError(result: raw, statement: request.textOfPosition)
        let isStale = error.sqlState == "26000" || PostgresError.isStalePlan(raw)
        PQclear(raw)
        if request.parts.indices.contains(request.position), let entry = request.parts[request.position].entry {
            if request.parts[request.position].isPrepare { self.cache.remove(entry) }
            if isStale {
                // Somebody deallocated it, or its tables changed. With one statement usually all are gone.
                if error.sqlState != "26000" {
                    self.cache.discard(entry)
                } else if entry.name != nil {
                    // Not one that could not be prepared just before.
                    self.cache.removeAll()
                }
                request.isStale = true
            }
        }
        request.position += 1
        if request.error == nil { request.error = error }
    }

    /// A request is answered whole.
    private func synced(_ request: Request) {
        // "Active" while more is under way, which says nothing; what comes last is told apart.
        let status = PQtransactionStatus(self.connection)
        if request.isAlone, status == PQTRANS_INTRANS || status == PQTRANS_INERROR {
            // Whatever came behind it ran in its transaction, and is lost with it.
            self.driver.close()
            return self.finishHead(
                failing: PostgresError(
                    code: .server,
                    message: "the statement left a transaction open; transactions are made with transaction(_:)"))
        }
        // Between transactions nothing can be lost by what makes room for other prepared statements.
        if status == PQTRANS_IDLE, !request.isAlone { _ = self.evict() }
        guard let error = request.error else { return self.finishHead(.results(request.results)) }
        let wasHit =
            error.sqlState == "57014" && self.cancelling.isUnderWay && !request.isCancelled.load(ordering: .relaxed)
        if wasHit { request.attempts -= 1 }
        if request.isAlone, request.isStale || (wasHit && request.isWhole), request.attempts < 3 {
            // Its statement had no effect: prepared anew, or once more after a cancel that was meant for another.
            _ = self.popHead()
            request.reset()
            self.waiting.append(request)
            return self.considerCancelling()
        }
        if request.isStale {
            return self.finishHead(
                failing: PostgresError(
                    code: .stalePlan,
                    message: "a prepared statement was gone or changed; the transaction may be tried again",
                    sqlState: error.sqlState))
        }
        self.finishHead(failing: self.judged(error, request))
    }

    /// A server that goes away while a statement is being committed may have committed it.
    private func judged(_ error: PostgresError, _ request: Request) -> PostgresError {
        guard error.code == .connectionLost, request.loss == .unknown else { return error }
        return PostgresError(
            code: .unknownOutcome, message: "the server ended the session while the statement may have taken effect",
            sqlState: error.sqlState)
    }

    // MARK: - Streams and COPY

    /// A reader wants the next piece.
    func beginReading(_ request: Request) {
        if case .abandon(cancels: true) = request.work, self.mode == .stream || self.mode == .copyOut {
            request.cancelledSince = .now
            // One that is on its way already will do.
            if !self.cancelling.isUnderWay { self.cancelOnServer() }
        }
        self.receive()
    }

    private func receiveRows() {
        guard let head = self.inFlight.first else { return }
        let isAbandoned = if case .abandon = head.work { true } else { false }
        var separators = 0
        while PQisBusy(self.connection) == 0 {
            if !isAbandoned, head.results.count >= Self.pieceRows || head.position >= Self.pieceBytes { break }
            guard let raw = PQgetResult(self.connection) else {
                // One stands between the statement and the Sync; more mean that the connection is gone.
                separators += 1
                if separators > 1 { return }
                continue
            }
            switch PQresultStatus(raw) {
            case PGRES_SINGLE_TUPLE:
                let result = PostgresResult(raw: raw)
                if !isAbandoned {
                    head.position += result.memorySize
                    head.results.append(result)
                }
            case PGRES_PIPELINE_SYNC:
                PQclear(raw)
                self.mode = .pipeline
                self.isReading = true
                return self.streamEnded(head, isAbandoned: isAbandoned)
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_PIPELINE_ABORTED, PGRES_EMPTY_QUERY:
                PQclear(raw)
            default:
                let error = PostgresError(result: raw, statement: self.openText)
                PQclear(raw)
                if self.streamError == nil { self.streamError = error }
            }
        }
        guard !isAbandoned, !head.results.isEmpty else { return }
        self.isReading = false
        self.finishHead(.rows(head.results, isLast: false))
    }

    private func streamEnded(_ head: Request, isAbandoned: Bool) {
        guard !isAbandoned, let error = self.streamError else {
            let isWhole = self.streamError == nil
            self.streamError = nil
            return self.finishHead(.rows(head.results, isLast: isWhole))
        }
        if head.results.isEmpty {
            self.streamError = nil
            self.finishHead(failing: error)
        } else {
            // What came before it is handed over first; whoever asks for more is told.
            self.finishHead(.rows(head.results, isLast: false))
        }
    }

    /// COPY has begun, or was refused.
    private func receiveOpening() {
        guard let head = self.inFlight.first else { return }
        while PQisBusy(self.connection) == 0 {
            guard let raw = PQgetResult(self.connection) else {
                self.resumePipeline()
                return self.finishHead(
                    failing: head.error
                        ?? PostgresError(code: .server, message: "the statement is no COPY from or to the client"))
            }
            let columns = PQnfields(raw)
            switch PQresultStatus(raw) {
            case PGRES_COPY_IN:
                PQclear(raw)
                self.mode = .copyIn
                return self.finishHead(.opened(columns: columns, isIn: true))
            case PGRES_COPY_OUT:
                PQclear(raw)
                self.mode = .copyOut
                self.isReading = false
                return self.finishHead(.opened(columns: columns, isIn: false))
            default:
                if PQresultStatus(raw) == PGRES_FATAL_ERROR {
                    head.error = head.error ?? PostgresError(result: raw, statement: self.openText)
                }
                PQclear(raw)
            }
        }
    }

    private func receiveCopy() {
        guard let head = self.inFlight.first else { return }
        let isAbandoned = if case .abandon = head.work { true } else { false }
        while isAbandoned || head.bytes.count < Self.pieceBytes {
            var row: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(self.connection, &row, 1)
            if count > 0 {
                if !isAbandoned {
                    head.bytes.append(contentsOf: UnsafeRawBufferPointer(start: row, count: Int(count)))
                }
                PQfreemem(row)
            } else if count == 0 {
                break
            } else {
                // The end, or an error, which the result tells.
                self.mode = .endingCopy
                return self.receiveEnd()
            }
        }
        guard !isAbandoned, !head.bytes.isEmpty else { return }
        self.isReading = false
        self.finishHead(.bytes(head.bytes, isLast: false))
    }

    private func receiveEnd() {
        guard let head = self.inFlight.first else { return }
        while PQisBusy(self.connection) == 0 {
            if let raw = PQgetResult(self.connection) {
                if PQresultStatus(raw) == PGRES_COMMAND_OK {
                    head.results.append(PostgresResult(raw: raw))
                } else {
                    head.error = head.error ?? PostgresError(result: raw, statement: self.openText)
                    PQclear(raw)
                }
                continue
            }
            self.resumePipeline()
            if case .abandon = head.work { return self.finishHead(.rows([], isLast: head.error == nil)) }
            if let error = head.error { return self.finishHead(failing: self.judged(error, head)) }
            if case .readCopy = head.work { return self.finishHead(.bytes(head.bytes, isLast: true)) }
            return self.finishHead(.results(head.results))
        }
    }

    private func resumePipeline() {
        self.mode = .pipeline
        self.isReading = true
        // Fails only where something is under way, which nothing is.
        if PQenterPipelineMode(self.connection) != 1 { self.driver.close() }
    }
}
