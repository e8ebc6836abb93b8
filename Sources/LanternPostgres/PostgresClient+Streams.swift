extension PostgresClient {
    /// Runs a statement and reads its rows as they come, in constant memory however many there are.
    ///
    /// The connection is the closure's until it returns. What it does not read is cancelled on the server.
    /// - Throws: What `body` throws, or ``PostgresError``.
    public func stream<Value>(_ sql: SQL, _ body: (PostgresRowStream) async throws -> Value) async throws -> Value {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info) {
            try await self.withDriver(.alone) { driver in
                try await driver.stream(sql, loss: info.loss, isAlone: true, body)
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
        return try await self.telemetry.measure(sql, self.telemetry.info(sql.text)) {
            try await self.withDriver(.alone) { driver in try await driver.copyIn(sql, loss: .unknown, body) }
        }
    }

    /// Reads what `COPY … TO STDOUT` writes, piece by piece, in constant memory.
    ///
    /// - Parameter sql: The whole statement; it takes no parameters.
    /// - Throws: What `body` throws, or ``PostgresError``.
    public func copyOut<Value>(_ sql: SQL, _ body: (PostgresCopyStream) async throws -> Value) async throws -> Value {
        try await self.telemetry.measure(sql, self.telemetry.info(sql.text)) {
            try await self.withDriver(.alone) { driver in try await driver.copyOut(sql, body) }
        }
    }
}

extension PostgresTransaction {
    /// As ``PostgresClient/stream(_:_:)``, in this transaction. Nothing else can be asked of it meanwhile.
    public func stream<Value>(_ sql: SQL, _ body: (PostgresRowStream) async throws -> Value) async throws -> Value {
        let info = self.telemetry.info(sql.text)
        try info.check()
        return try await self.telemetry.measure(sql, info) {
            try await self.beginNow()
            return try await self.driver.stream(sql, loss: .nothing, isAlone: false, body)
        }
    }

    /// As ``PostgresClient/copyIn(_:columns:_:)``, in this transaction.
    @discardableResult
    public func copyIn(
        _ table: String, columns: [String], _ body: (PostgresCopyWriter) async throws -> Void
    ) async throws -> Int {
        let sql = SQL.copy(into: table, columns)
        return try await self.telemetry.measure(sql, self.telemetry.info(sql.text)) {
            try await self.beginNow()
            return try await self.driver.copyIn(sql, loss: .nothing, body)
        }
    }
}

extension SQL {
    fileprivate static func copy(into table: String, _ columns: [String]) -> SQL {
        func quoted(_ name: some StringProtocol) -> String {
            "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        }
        let name = table.split(separator: ".", maxSplits: 1).map { quoted($0) }.joined(separator: ".")
        return SQL(unchecked: "COPY \(name) (\(columns.map { quoted($0) }.joined(separator: ", "))) FROM STDIN")
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

    init(_ driver: Driver, _ loss: Request.Loss) {
        self.driver = driver
        self.loss = loss
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
            return try await self.driver.perform(work, self.loss, isAlone: false)
        } catch let error as PostgresError {
            // An attempt that was never made leaves the rest to be abandoned.
            if error.code != .cancelled || error.sqlState != nil { self.isOver = true }
            throw error
        }
    }

    /// Leaves the connection as it was found, whatever becomes of the task.
    func end() async {
        guard !self.isOver else { return }
        let driver = self.driver
        let ended = await Task.detached { try await driver.perform(.abandon, .nothing, isAlone: false) }.result
        if case .failure = ended { driver.close() }
    }
}

extension Driver {
    fileprivate func stream<Value>(
        _ sql: SQL, loss: Request.Loss, isAlone: Bool, _ body: (PostgresRowStream) async throws -> Value
    ) async throws -> Value {
        try sql.parameters.check()
        _ = try await self.perform(.openStream(sql), loss, isAlone: isAlone)
        return try await self.read(StreamReader(self, loss)) { try await body(PostgresRowStream(reader: $0)) }
    }

    fileprivate func copyOut<Value>(
        _ sql: SQL, _ body: (PostgresCopyStream) async throws -> Value
    ) async throws -> Value {
        _ = try await self.perform(.openCopy(sql), .nothing, isAlone: false)
        return try await self.read(StreamReader(self, .nothing)) { try await body(PostgresCopyStream(reader: $0)) }
    }

    private func read<Value>(_ reader: StreamReader, _ body: (StreamReader) async throws -> Value) async throws -> Value
    {
        do {
            let value = try await body(reader)
            await reader.end()
            return value
        } catch {
            await reader.end()
            throw error
        }
    }

    fileprivate func copyIn(
        _ sql: SQL, loss: Request.Loss, _ body: (PostgresCopyWriter) async throws -> Void
    ) async throws -> Int {
        _ = try await self.perform(.openCopy(sql), .nothing, isAlone: false)
        let writer = PostgresCopyWriter(self)
        do {
            try await body(writer)
            try await writer.flush()
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
        guard case .results(let results) = try await self.perform(.endCopy(failure: nil), loss, isAlone: false) else {
            return 0
        }
        return results.last?.affectedRows ?? 0
    }
}
