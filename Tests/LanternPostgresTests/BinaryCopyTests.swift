import Foundation
import LanternPostgres
import TestSupport
import Testing

@Suite("COPY in binary format")
struct BinaryCopyTests {
    private static let columns = ["n", "m", "word", "flag", "id", "at", "bytes"]

    private func client() async throws -> PostgresClient {
        let client = try await TestCluster.shared.client()
        try await client.execute(
            "CREATE TABLE wide (n bigint, m integer, word text, flag boolean, id uuid, at timestamptz, bytes bytea)")
        return client
    }

    @Test("values of every type come back at their extremes, and so does NULL")
    func values() async throws {
        let client = try await self.client()
        let words = ["", "\\N", "a\tb\nc\\", "🏮", String(repeating: "x", count: 300_000)]
        let id = try #require(UUID(uuidString: "0190B5A8-7C00-7ABC-8DEF-0123456789AB"))
        let times = [
            Timestamp(microseconds: -62_135_596_800_000_000), Timestamp(microseconds: 1),
            Timestamp(microseconds: 253_402_300_799_999_999),
        ]
        let blob = (0...255).map { UInt8($0) }
        let count = try await client.transaction { tx in
            try await tx.copyInBinary("wide", columns: Self.columns) { copy in
                for (index, word) in words.enumerated() {
                    try await copy.write { row in
                        row.append(index == 0 ? Int64.min : index == 1 ? Int64.max : Int64(index))
                        row.append(index == 0 ? Int32.min : index == 1 ? Int32.max : Int32(index))
                        row.append(word)
                        row.append(index % 2 == 0)
                        row.append(id)
                        row.append(times[index % times.count])
                        row.append(bytes: index == 0 ? [] : blob)
                    }
                }
                try await copy.write { row in
                    for _ in Self.columns { row.null() }
                }
            }
        }
        #expect(count == words.count + 1)
        let rows = try await client.query("SELECT * FROM wide ORDER BY m NULLS LAST")
        let found = try rows.prefix(words.count).map { row in
            (
                n: try row("n", as: Int64.self), word: try row("word", as: String.self),
                at: try row("at", as: Timestamp.self)
            )
        }
        #expect(found.map(\.n) == [.min, 2, 3, 4, .max])
        #expect(Set(found.map(\.word)) == Set(words))
        #expect(Set(found.map(\.at)) == Set(times))
        let first = try #require(rows.first)
        #expect(
            try first("m", as: Int32.self) == .min && first("flag", as: Bool.self) && first("id", as: UUID.self) == id)
        #expect(try first("bytes", as: PostgresBytes.self).bytes.isEmpty)
        #expect(try rows[1]("bytes", as: PostgresBytes.self).bytes == blob)
        let last = try #require(rows.last)
        #expect(try last("word", as: String?.self) == nil && last("n", as: Int64?.self) == nil)
        #expect(try last("bytes", as: PostgresBytes?.self) == nil && last("at", as: Timestamp?.self) == nil)
        client.close()
    }

    @Test("a row that cannot be written is told, and the others are")
    func refusedRow() async throws {
        let client = try await self.client()
        try await client.transaction { tx in
            _ = try await tx.copyInBinary("wide", columns: ["n", "word"]) { copy in
                func write(_ word: String) async throws {
                    try await copy.write { row in
                        row.append(Int64(1))
                        row.append(word)
                    }
                }
                try await write("a")
                let withNUL = await #expect(throws: PostgresError.self) { try await write("b\u{0}c") }
                #expect(withNUL?.code == .invalidParameter)
                let short = await #expect(throws: PostgresError.self) { try await copy.write { $0.append(Int64(2)) } }
                #expect(short?.code == .invalidParameter && short?.message.contains("1 values for 2 columns") == true)
            }
        }
        #expect(try await client.query("SELECT word FROM wide").map { try $0("word", as: String.self) } == ["a"])
        client.close()
    }

    @Test("a value of another type than its column's is refused by the server, and the transaction can go on")
    func wrongType() async throws {
        let client = try await self.client()
        try await client.transaction { tx in
            let error = await #expect(throws: PostgresError.self) {
                try await tx.savepoint {
                    _ = try await tx.copyInBinary("wide", columns: ["m"]) { try await $0.write { $0.append(Int64(1)) } }
                }
            }
            #expect(error?.sqlState == "22P03")
            try await tx.copyInBinary("wide", columns: ["m"]) { try await $0.write { $0.append(Int32(1)) } }
        }
        #expect(try await client.query("SELECT FROM wide").count == 1)
        client.close()
    }
}
