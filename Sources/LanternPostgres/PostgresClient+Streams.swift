extension PostgresClient {
    /// Runs a statement and reads its rows as they come, in constant memory however many there are.
    ///
    /// The connection is the closure's until it returns. What it does not read is cancelled on the server.
    /// - Throws: What `body` throws, or ``PostgresError``.
    public func stream<Value>(_ sql: SQL, _ body: (PostgresRowStream) async throws -> Value) async throws -> Value {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info, runsOthers: true) {
            try await self.withFreshDriver { driver in
                try await driver.stream(sql, loss: info.loss, isAlone: true, drains: info.loss == .unknown, body)
            }
        }
    }

    /// Writes rows into a table by COPY, the fastest way there is: all of them or none.
    ///
    /// - Parameters:
    ///   - table: Its name, quoted here; `schema.table` names both.
    ///   - columns: Those that each row has, in order.
    /// - Returns: How many rows the server took.
    /// - Throws: What `body` throws, or ``PostgresError``.
    @discardableResult
    public func copyIn(
        _ table: String, columns: [String], _ body: (PostgresCopyWriter) async throws -> Void
    ) async throws -> Int {
        let sql = SQL.copy(into: table, columns)
        return try await self.telemetry.measure(sql, self.telemetry.info(sql.text), runsOthers: true) {
            try await self.withFreshDriver { driver in try await driver.copyIn(sql, loss: .unknown, body) }
        }
    }

    /// Reads what `COPY … TO STDOUT` writes, piece by piece, in constant memory.
    ///
    /// - Parameter sql: The whole statement; it takes no parameters.
    /// - Throws: What `body` throws, or ``PostgresError``.
    public func copyOut<Value>(_ sql: SQL, _ body: (PostgresCopyStream) async throws -> Value) async throws -> Value {
        let info = self.telemetry.info(sql.text)
        guard info.summary.operation == "COPY" else {
            throw PostgresError(
                code: .wrongMethod, message: "copyOut runs COPY … TO STDOUT, and no \(info.summary.operation)")
        }
        return try await self.telemetry.measure(sql, info, runsOthers: true) {
            try await self.withFreshDriver { driver in try await driver.copyOut(sql, body) }
        }
    }
}

extension PostgresTransaction {
    /// As ``PostgresClient/stream(_:_:)``, in this transaction. Nothing else can be asked of it meanwhile.
    public func stream<Value>(_ sql: SQL, _ body: (PostgresRowStream) async throws -> Value) async throws -> Value {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info, runsOthers: true) {
            // What is not read is cancelled, which would be the end of the transaction.
            try await self.run([SQL(unchecked: "SAVEPOINT lantern_stream")])
            let driver = self.driver
            return try await driver.stream(sql, loss: .nothing, isAlone: false, drains: info.loss == .unknown, body) {
                isWhole in
                let release = SQL(unchecked: "RELEASE SAVEPOINT lantern_stream")
                let undo = SQL(unchecked: "ROLLBACK TO SAVEPOINT lantern_stream")
                let undone = await Task.detached {
                    try await driver.run(isWhole ? [release] : [undo, release], loss: .nothing, isAlone: false)
                }.result
                if case .failure = undone { driver.doom() }
            }
        }
    }

    /// As ``PostgresClient/copyIn(_:columns:_:)``, in this transaction.
    @discardableResult
    public func copyIn(
        _ table: String, columns: [String], _ body: (PostgresCopyWriter) async throws -> Void
    ) async throws -> Int {
        let sql = SQL.copy(into: table, columns)
        return try await self.telemetry.measure(sql, self.telemetry.info(sql.text), runsOthers: true) {
            try await self.run([])
            return try await self.driver.copyIn(sql, loss: .nothing, body)
        }
    }
}

extension SQL {
    static func copy(into table: String, _ columns: [String], options: String = "") -> SQL {
        func quoted(_ name: some StringProtocol) -> String {
            "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        }
        let name = table.split(separator: ".", maxSplits: 1).map { quoted($0) }.joined(separator: ".")
        return SQL(
            unchecked: "COPY \(name) (\(columns.map { quoted($0) }.joined(separator: ", "))) FROM STDIN\(options)")
    }
}

/// Rows of a statement, read once, as they come from the server.
public struct PostgresRowStream: AsyncSequence {
    public typealias Element = PostgresRow

    fileprivate let reader: StreamReader

    public func makeAsyncIterator() -> Iterator { Iterator(reader: self.reader) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let reader: StreamReader
        private var rows: [PostgresResult] = []
        private var index = 0

        fileprivate init(reader: StreamReader) { self.reader = reader }

        /// - Throws: ``PostgresError``.
        public mutating func next() async throws -> PostgresRow? {
            while self.index == self.rows.count {
                guard let rows = try await self.reader.nextRows() else { return nil }
                self.rows = rows
                self.index = 0
            }
            defer { self.index += 1 }
            return PostgresRow(result: self.rows[self.index], index: 0)
        }
    }
}

/// Bytes that `COPY … TO STDOUT` writes, in pieces that may end within a row, read once.
public struct PostgresCopyStream: AsyncSequence {
    public typealias Element = [UInt8]

    fileprivate let reader: StreamReader

    public func makeAsyncIterator() -> Iterator { Iterator(reader: self.reader) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let reader: StreamReader

        /// - Throws: ``PostgresError``.
        public mutating func next() async throws -> [UInt8]? { try await self.reader.nextBytes() }
    }
}

/// What is left to read of a stream. Used by one task at a time, as the iterator of a sequence is.
private final class StreamReader {
    let driver: Driver
    let loss: Request.Loss
    var isOver = false
    private var hasFailed = false

    /// What is left is read rather than cancelled: the statement writes.
    let drains: Bool

    init(_ driver: Driver, _ loss: Request.Loss, drains: Bool = false) {
        self.driver = driver
        self.loss = loss
        self.drains = drains
    }

    func nextRows() async throws -> [PostgresResult]? {
        while !self.isOver {
            guard case .rows(let rows, let isLast) = try await self.next(.readStream) else { return nil }
            self.isOver = isLast
            if !rows.isEmpty { return rows }
        }
        return nil
    }

    func nextBytes() async throws -> [UInt8]? {
        while !self.isOver {
            guard case .bytes(let bytes, let isLast) = try await self.next(.readCopy) else { return nil }
            self.isOver = isLast
            if !bytes.isEmpty { return bytes }
        }
        return nil
    }

    private func next(_ work: Request.Work) async throws -> Request.Answer {
        do {
            return try await self.driver.performHere(work, self.loss)
        } catch let error as PostgresError {
            // An attempt that was never made leaves the rest to be abandoned.
            if error.code != .cancelled || error.sqlState != nil {
                self.isOver = true
                self.hasFailed = true
            }
            throw error
        }
    }

    /// Leaves the connection as it was found, whatever becomes of the task.
    /// - Returns: Whether the statement ran to its end.
    func end() async -> Bool {
        guard !self.isOver else { return !self.hasFailed }
        self.isOver = true
        let driver = self.driver
        let drains = self.drains
        let ended = await Task.detached {
            try await driver.perform(.abandon(cancels: !drains), .nothing, isAlone: false)
        }.result
        switch ended {
        case .success(.rows(_, let isWhole)): return isWhole
        case .success: return true
        case .failure:
            driver.close()
            return false
        }
    }
}

extension Driver {
    fileprivate func stream<Value>(
        _ sql: SQL, loss: Request.Loss, isAlone: Bool, drains: Bool = false,
        _ body: (PostgresRowStream) async throws -> Value,
        atEnd: (_ isWhole: Bool) async -> Void = { _ in }
    ) async throws -> Value {
        try sql.parameters.check()
        _ = try await self.perform(.openStream(sql), loss, isAlone: isAlone)
        return try await self.read(StreamReader(self, loss, drains: drains), atEnd) {
            try await body(PostgresRowStream(reader: $0))
        }
    }

    fileprivate func copyOut<Value>(
        _ sql: SQL, _ body: (PostgresCopyStream) async throws -> Value
    ) async throws -> Value {
        if case .opened(_, isIn: true) = try await self.perform(.openCopy(sql), .nothing, isAlone: false) {
            _ = try? await self.perform(.endCopy(failure: "no rows are sent"), .nothing, isAlone: false)
            throw PostgresError(code: .wrongMethod, message: "copyOut runs COPY … TO STDOUT: use copyIn to send rows")
        }
        return try await self.read(StreamReader(self, .nothing), { _ in }) {
            try await body(PostgresCopyStream(reader: $0))
        }
    }

    private func read<Value>(
        _ reader: StreamReader, _ atEnd: (_ isWhole: Bool) async -> Void, _ body: (StreamReader) async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await body(reader)
            await atEnd(await reader.end())
            return value
        } catch {
            await atEnd(await reader.end())
            throw error
        }
    }

    fileprivate func copyIn(
        _ sql: SQL, loss: Request.Loss, _ body: (PostgresCopyWriter) async throws -> Void
    ) async throws -> Int {
        try await self.copyIn(sql, loss: loss) { driver in
            let writer = PostgresCopyWriter(driver)
            defer { writer.isOver = true }
            try await body(writer)
            try await writer.flush()
        }
    }

    func copyIn(_ sql: SQL, loss: Request.Loss, _ send: (Driver) async throws -> Void) async throws -> Int {
        _ = try await self.perform(.openCopy(sql), .nothing, isAlone: false)
        do {
            try await send(self)
            if Task.isCancelled { throw PostgresError.cancelledByTask }
        } catch {
            let ended = await Task.detached {
                try await self.perform(.endCopy(failure: "the client gave up"), .nothing, isAlone: false)
            }.result
            // The server's own reason, where that is why writing failed.
            if case .failure(let reason as PostgresError) = ended, reason.code == .connectionLost { self.close() }
            if case .failure(let reason as PostgresError) = ended, reason.sqlState != "57014",
                (error as? PostgresError) != nil
            {
                throw reason
            }
            throw error
        }
        guard case .results(let results) = try await self.performHere(.endCopy(failure: nil), loss) else {
            return 0
        }
        return results.last?.affectedRows ?? 0
    }
}
